package main

import (
	"slices"
	"strings"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// daemon checks the daemon's status.
func (d *doctor) daemon(s ipc.Status) {
	d.ok("daemon", "dispatchd %s answers: process %d, started %s, %d running, %d queued", s.Version, s.PID, ago(s.StartedAt), s.Running, s.Queued)
	if mine := console.Version(); mine != s.Version {
		d.bad("version_mismatch", "install both from one version, then restart the daemon", "dispatchctl is version %s, the daemon is version %s", mine, s.Version)
	}
	if s.Journal == "ok" {
		d.ok("journal", "the journal can be written (durability %s)", s.Durability)
	} else {
		d.bad("journal_unavailable", journalAdvice(s.Journal), "the journal cannot be written, nothing is accepted: %s", s.Journal)
	}
	if s.Starts != "ok" && s.Starts != "" { // an older daemon does not say
		d.bad("disk_low", "free some room there: jobs start by themselves then; keep_free_state and keep_free_run in dispatchd.toml say how much is kept free", "no job starts: %s", s.Starts)
	}
	if s.Volatile {
		d.bad("state_volatile", "put the state directory on a disk if accepted jobs are to outlive a reboot", "the state directory is in memory: accepted jobs do not outlive a reboot")
	}
	for _, w := range s.Warnings {
		if !s.Volatile || !strings.Contains(w, "in memory") {
			d.bad("warning", "the daemon's log says more", "%s", w)
		}
	}
	if s.Draining {
		d.bad("draining", "dispatchctl undrain", "the daemon is draining: it refuses every notify")
	}
	for _, o := range s.OpenOutputs {
		d.note("output_open", "redirect the output of what it starts, as in: daemon >/dev/null 2>&1; dispatchctl log "+o.Job+" shows what came",
			"job %s of %s has ended, and what it left running can still print to its log (%d bytes until now)", o.Job, o.Dispatcher, o.Output.Bytes)
	}
	if s.Counters.Refused > 0 {
		d.note("refused", "dispatchctl show NAME counts them for each dispatcher; the daemon's log says why", "refused since the daemon started: %d", s.Counters.Refused)
	}
}

// journalAdvice is what to do about a journal that cannot be written, by its cause.
func journalAdvice(cause string) string {
	do := "mend that; the daemon's log says more"
	switch {
	case strings.Contains(cause, "no space left"), strings.Contains(cause, "quota"):
		do = "free space on that disk"
	case strings.Contains(cause, "read-only file system"):
		do = "mount that file system for writing; the kernel's log says why it is not"
	case strings.Contains(cause, "input/output error"):
		do = "look after that disk: the kernel's log says what fails"
	case strings.Contains(cause, "permission denied"):
		do = "give the daemon's user the state directory back"
	}
	return do + "; jobs are accepted again by themselves then"
}

// dispatchers checks each dispatcher.
func (d *doctor) dispatchers() {
	all, err := d.app.api().Dispatchers(d.ctx)
	if err != nil {
		d.bad("not_asked", "", "dispatchers: %v", err)
		return
	}
	before := len(d.found)
	for _, short := range all {
		full, err := d.app.api().Dispatcher(d.ctx, short.Name)
		if err != nil {
			d.bad("not_asked", "", "dispatcher %s: %v", short.Name, err)
			continue
		}
		d.all = append(d.all, full)
		d.dispatcher(full)
	}
	switch {
	case len(all) == 0:
		d.note("no_dispatchers", "put NAME.toml into dispatchers.d, then run: dispatchctl reload", "there are no dispatchers")
	case len(d.found) == before && len(all) == 1:
		d.ok("dispatchers", "the one dispatcher is ready")
	case len(d.found) == before:
		d.ok("dispatchers", "all %d dispatchers are ready", len(all))
	}
}

// dispatcher checks one.
func (d *doctor) dispatcher(v ipc.Dispatcher) {
	if v.Reason != "" {
		d.bad("dispatcher_disabled", "mend the file, then run: dispatchctl reload", "dispatcher %s is %s: %s", v.Name, v.State, v.Reason)
	}
	for _, p := range v.Problems {
		d.bad("run_would_fail", "install what is missing, or change its definition; dispatchctl show "+v.Name, "dispatcher %s: its next run will fail: %s", v.Name, p)
	}
	if v.State == ipc.DispatcherPaused {
		d.bad("paused", "dispatchctl resume "+v.Name, "dispatcher %s is paused, with %s queued", v.Name, console.Count(v.Queued, "job"))
	}
	if limit, ok := v.Definition["max_queue"].(float64); ok && limit > 0 && v.Queued+v.Running >= int(limit) {
		d.bad("queue_full", "dispatchctl why "+v.Name, "dispatcher %s is full: %s outstanding, max_queue is %d; the next notify is refused", v.Name, console.Count(v.Queued+v.Running, "job"), int(limit))
	}
	switch v.LastState {
	case ipc.Failed, ipc.TimedOut, ipc.Interrupted, ipc.Expired:
		d.note("last_run_failed", "dispatchctl why "+v.LastJob, "the last job of %s: %s", v.Name, v.LastState)
	case ipc.Queued, ipc.Running, ipc.Succeeded, ipc.Canceled: // nothing is wrong
	}
}

// jobs finds running jobs that take unusually long.
func (d *doctor) jobs() {
	running, err := d.app.list(d.ctx, ipc.JobFilter{State: ipc.Running, Limit: pageSize})
	if err != nil {
		d.bad("not_asked", "", "jobs: %v", err)
		return
	}
	for _, j := range running {
		usual, err := d.usualDuration(j.Dispatcher)
		if err != nil {
			d.bad("not_asked", "", "jobs of %s: %v", j.Dispatcher, err)
			continue
		}
		if j.StartedAt == nil {
			continue
		}
		if lasts := time.Since(*j.StartedAt); tooLong(lasts, usual) {
			d.bad("job_too_long", "dispatchctl log -f "+j.ID+" shows what it does; dispatchctl cancel "+j.ID+" ends it",
				"job %s of %s runs for %s; the last ones took %s", j.ID, j.Dispatcher, round(lasts), round(usual))
		}
	}
}

// tooLong reports whether a run is unusual: three times as long as the runs
// before, and a minute.
func tooLong(lasts, usual time.Duration) bool {
	return usual > 0 && lasts > max(time.Minute, 3*usual)
}

// minRuns is how many runs a usual duration needs.
const minRuns = 3

// usualDuration is the median of a dispatcher's last runs, 0 where there are too few.
func (d *doctor) usualDuration(name string) (time.Duration, error) {
	jobs, err := d.app.api().Jobs(d.ctx, ipc.JobFilter{Dispatcher: name, State: ipc.Succeeded, Limit: 20})
	if err != nil || len(jobs) < minRuns {
		return 0, err
	}
	var took []time.Duration
	for _, j := range jobs {
		if j.StartedAt != nil && j.EndedAt != nil {
			took = append(took, j.EndedAt.Sub(*j.StartedAt))
		}
	}
	if len(took) < minRuns {
		return 0, nil
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
