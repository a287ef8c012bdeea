package main

import (
	"fmt"
	"strings"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// describe prints the facts about a job, a line each; with all also its
// arguments, result and output.
func (a *app) describe(job ipc.Job, h *holder, all bool) error {
	a.printf("%s of %s: %s", job.ID, job.Dispatcher, a.palette().State(string(job.State)))
	lines := waitLines(job, h)
	lines = append(lines, runLines(job)...)
	lines = append(lines, askLines(job)...)
	if all {
		lines = append(lines, workLines(job)...)
	}
	t := &console.Table{}
	for _, l := range append(lines, nextLines(job, h)...) {
		t.Row("  "+l.name, l.text)
	}
	return a.show(t)
}

// line is one fact about a job.
type line struct{ name, text string }

// waitLines are about a job that waits.
func waitLines(job ipc.Job, h *holder) []line {
	w := job.WaitingFor
	if w == nil {
		return nil
	}
	lines := []line{{"why", reason(*w)}}
	if w.Detail != "" {
		lines[0].text += ": " + w.Detail
	}
	if h != nil {
		word := "held by"
		if w.Reason == ipc.WaitTurn {
			word = "behind"
		}
		lines = append(lines, line{word, h.words()})
		if !h.Since.IsZero() {
			lines = append(lines, line{"since", when(h.Since)})
		}
	}
	switch about := estimate(*w); {
	case w.Until != nil:
		lines = append(lines, line{"until", clock(*w.Until)})
	case about != "":
		lines = append(lines, line{"starts", "in about " + about + ", as the last runs took"})
	case h != nil:
		lines = append(lines, line{"starts", "nobody can tell when"})
	}
	return lines
}

// runLines are about a job that runs or ran.
func runLines(job ipc.Job) []line {
	var lines []line
	if job.Error != nil {
		lines = append(lines, line{"why", job.Error.Message})
	}
	for _, t := range job.Attempts {
		lines = append(lines, line{fmt.Sprintf("attempt %d", t.Number), when(t.StartedAt) + ": " + endOf(t)})
	}
	if job.StartedAt != nil {
		text := when(*job.StartedAt)
		if job.Attempt > 1 {
			text += fmt.Sprintf(", attempt %d", job.Attempt)
		}
		lines = append(lines, line{"started", text})
	}
	if job.State == ipc.Running && because(job) != "" {
		lines = append(lines, line{"progress", because(job)})
	}
	if job.Deadline != nil {
		lines = append(lines, line{"deadline", when(*job.Deadline)})
	}
	if job.EndedAt != nil {
		text := when(*job.EndedAt)
		if job.StartedAt != nil {
			text += ", after " + took(job)
		}
		lines = append(lines, line{"ended", text})
	}
	return lines
}

// endOf is how an attempt ended before the next one.
func endOf(t ipc.Attempt) string {
	if t.Error != nil {
		return t.Error.Message
	}
	return "ended " + when(t.EndedAt)
}

// askLines are about the callers that asked for a job.
func askLines(job ipc.Job) []line {
	text := when(job.CreatedAt)
	if job.Origin != ipc.OriginNotify {
		text += ", by " + strings.ReplaceAll(string(job.Origin), "_", "-")
	}
	if len(job.Notifiers) > 0 {
		text += ", " + by(job.Notifiers[0])
	}
	if job.CoalescedCount > 0 {
		text += fmt.Sprintf("; %d more joined it", job.CoalescedCount)
	}
	return []line{{"asked for", text}}
}

// by names a caller.
func by(n ipc.Notifier) string {
	text := fmt.Sprintf("by user %d", n.UID)
	if n.PID > 0 {
		text += fmt.Sprintf(", process %d", n.PID)
	}
	return text
}

// workLines are a job's arguments, result and output.
func workLines(job ipc.Job) []line {
	var lines []line
	if len(job.Arguments) > 0 {
		lines = append(lines, line{"arguments", string(job.Arguments)})
	}
	if len(job.Result) > 0 {
		lines = append(lines, line{"result", string(job.Result)})
	}
	if job.Error != nil && len(job.Error.Detail) > 0 {
		lines = append(lines, line{"detail", string(job.Error.Detail)})
	}
	text := fmt.Sprintf("%d bytes", job.Output.Bytes)
	if left := job.Output.Dropped - job.Output.Lost; left > 0 {
		text += fmt.Sprintf(", %d of them left out of the middle", left)
	}
	if job.Output.Open {
		text += "; something that it left running can still print"
	}
	lines = append(lines, line{"output", text})
	if job.Output.Warning != "" {
		lines = append(lines, line{"warning", job.Output.Warning})
	}
	return lines
}

// nextLines are the commands to run next.
func nextLines(job ipc.Job, h *holder) []line {
	w := job.WaitingFor
	switch {
	case w != nil && w.Reason == ipc.WaitPaused && strings.HasPrefix(w.Detail, "disabled"):
		return []line{{"next", "mend its file, then run: dispatchctl reload"}}
	case w != nil && w.Reason == ipc.WaitPaused:
		return []line{{"next", "dispatchctl resume " + job.Dispatcher}}
	case h != nil && h.Job != "" && h.State != ipc.Queued:
		return []line{{"next", "dispatchctl log -f " + h.Job + " follows what it does; dispatchctl cancel " + h.Job + " ends it"}}
	case job.State == ipc.Running:
		return []line{{"next", "dispatchctl log -f " + job.ID + " follows its output"}}
	case job.State.Final() && job.State != ipc.Succeeded && job.StartedAt != nil:
		return []line{{"next", "dispatchctl log " + job.ID + " shows its output; dispatchctl retry " + job.ID + " asks for it again"}}
	case job.State.Final() && job.State != ipc.Succeeded:
		return []line{{"next", "dispatchctl retry " + job.ID + " asks for it again"}}
	}
	return nil
}

// when is a time, and how long ago it was.
func when(t time.Time) string { return clock(t) + " (" + ago(t) + ")" }
