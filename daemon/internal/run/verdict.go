package run

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// Cause is what an exit does not know of itself.
type Cause struct {
	Canceled bool // somebody canceled the job
	Stopping bool // the daemon stops, and ends the children that do not survive it
}

// Result is how an attempt ended.
type Result struct {
	Exit    proc.Exit
	Outcome store.Outcome // what is kept of it; Judge adds the error
	Spare   Spare         // a supervisor that can serve the next job, nil = none
}

// result makes the result of an exit. It looks at the log, which the attempt's
// goroutine may do and the owner's loop must not.
func (r *Runner) result(a *Attempt, x proc.Exit) Result {
	res := Result{Exit: x, Outcome: store.Outcome{
		StartedAt: x.Started.UnixNano(), EndedAt: x.Ended.UnixNano(),
		Result: x.Result, Progress: x.Progress, Signal: x.Signal,
	}}
	if x.Exited() {
		res.Outcome.ExitCode = new(x.Code)
	}
	switch t := x.Output; {
	case r.Logs == nil:
	case t != nil:
		res.Outcome.Output = ipc.Output{Bytes: t.Bytes, Dropped: t.Dropped, Lost: t.Lost, Warning: t.Warning, Open: t.Open}
	default: // nobody counted: its supervisor was killed, or it is of the release before
		open := r.Logs.LogHeld(a.ID) // over two upgrades in place: a process of its own reads on
		size := r.Logs.LogSize(a.ID)
		res.Outcome.Output = ipc.Output{Bytes: size, Dropped: max(0, size-a.Spec.MaxOutput), Open: open}
		if res.Outcome.Output.Dropped > 0 {
			_ = r.Logs.TrimLog(a.ID, size, a.Spec.MaxOutput)
		}
	}
	if res.Outcome.Output.Open { // what comes later needs it
		res.Outcome.MaxOutput = a.Spec.MaxOutput
	}
	return res
}

// NeverBegan reports that an attempt of an earlier daemon never got as far as a
// child, and may be started as if it were new.
func (r Result) NeverBegan() bool { return r.Exit.NotStarted && r.Exit.Err == nil }

// Judge gives the state in which the attempt ended, and what is kept of it.
func (r Result) Judge(s *dispatchers.Spec, c Cause) (ipc.State, *store.Outcome) {
	state, why := Verdict(s, r.Exit, c)
	out := r.Outcome
	out.Error = why
	return state, &out
}

// Unknown reports whether an attempt, judged so, was cut short by nobody who meant the
// job: on_interrupt decides what follows.
func (r Result) Unknown(state ipc.State) bool {
	return state == ipc.Interrupted && (r.Exit.SupervisorLost || r.Exit.Terminated)
}

// Retryable reports whether the definition's retry may try an attempt again that was
// judged so.
func (r Result) Retryable(s *dispatchers.Spec, c Cause, state ipc.State) bool {
	switch {
	case c.Canceled || c.Stopping:
		return false
	case state == ipc.TimedOut:
		return true
	case state != ipc.Failed:
		return false
	case len(s.Retry.ExitCodes) == 0:
		return true
	}
	return r.Exit.Err == nil && slices.Contains(s.Retry.ExitCodes, r.Exit.Code)
}

// succeeded reports whether an attempt did what it was to do, as far as its exit
// tells.
func succeeded(s *dispatchers.Spec, x proc.Exit) bool {
	return x.Exited() && !x.TimedOut && !x.Canceled && slices.Contains(s.SuccessExitCodes, x.Code)
}

// Verdict names the state in which an attempt ended, and why, nil = it succeeded.
// It is the only judge of an exit.
func Verdict(s *dispatchers.Spec, x proc.Exit, c Cause) (ipc.State, *ipc.JobError) {
	why := func(k ipc.Kind, format string, args ...any) *ipc.JobError {
		return &ipc.JobError{Kind: k, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case c.Canceled:
		return ipc.Canceled, why(ipc.KindCanceled, "canceled while it ran")
	case x.SupervisorLost:
		return ipc.Interrupted, why(ipc.KindInterrupted, "%s", cmp.Or(x.Lost, "its supervisor was killed while it ran, and its end is not known"))
	case x.Err != nil:
		kind := ipc.KindStartFailed
		if p, ok := errors.AsType[*ipc.Error](x.Err); ok {
			kind = p.Kind
		}
		failed := why(kind, "%v", x.Err)
		if kind == ipc.KindStartFailed {
			failed.ExitStatus = x.Code
		}
		return ipc.Failed, failed
	case x.Terminated: // init does so to every process when the machine goes down
		return ipc.Interrupted, why(ipc.KindInterrupted, "its supervisor was told to end it (SIGTERM), not by dispatchd")
	case c.Stopping && x.Canceled:
		return ipc.Interrupted, why(ipc.KindInterrupted, "the daemon was stopped while it ran")
	case x.Canceled && s.SurviveRestart: // by an earlier daemon, for somebody
		return ipc.Canceled, why(ipc.KindCanceled, "canceled while it ran")
	case x.Canceled:
		return ipc.Interrupted, why(ipc.KindInterrupted, "the daemon went down while it ran")
	case x.TimedOut:
		return ipc.TimedOut, why(ipc.KindTimeout, "ran longer than its timeout of %s", s.Timeout)
	case x.Signal != "":
		if x.Lost != "" {
			killed := why(ipc.KindSignaled, "ended by signal %s: %s", x.Signal, x.Lost)
			killed.Detail, _ = json.Marshal(x.Lost) // a string always can be
			return ipc.Failed, killed
		}
		return ipc.Failed, why(ipc.KindSignaled, "ended by signal %s", x.Signal)
	case !slices.Contains(s.SuccessExitCodes, x.Code):
		failed := why(ipc.KindExitStatus, "exit status %d%s", x.Code, ownReason(x.Failure))
		failed.Detail = x.Failure
		return ipc.Failed, failed
	}
	return ipc.Succeeded, nil
}

// maxReason bounds what a failed job's own reason adds to the message: the whole
// of it is in the error's detail.
const maxReason = 500

// ownReason is the reason that a failed job gave for its failure, as the end of a
// message: the error is a text, or an object with one in message.
func ownReason(failure json.RawMessage) string {
	var text string
	var object struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(failure, &text) != nil && json.Unmarshal(failure, &object) == nil {
		text = object.Message
	}
	if text = strings.Join(strings.Fields(text), " "); text == "" {
		return ""
	}
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return ": " + text
}
