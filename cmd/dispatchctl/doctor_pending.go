package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"dispatchd/ipc"
)

// schedules finds due times that led to no job.
func (d *doctor) schedules() {
	all, err := d.app.api().Schedule(d.ctx, ipc.ScheduleQuery{Next: 1})
	if err != nil {
		d.bad("not_asked", "", "schedules: %v", err)
		return
	}
	for _, s := range all {
		if s.Fault != "" {
			d.bad("schedule_not_in_force", "mend its file or the machine, then run: dispatchctl reload", "dispatcher %s: its schedule is not in force: %s", s.Dispatcher, s.Fault)
		}
		if due := cmp.Or(s.WhyDue, s.Last); s.Why != "" && due != nil {
			d.bad("due_not_run", "dispatchctl schedule "+s.Dispatcher+" shows what is due next; dispatchctl notify "+s.Dispatcher+" runs it now",
				"dispatcher %s was due at %s, and was not run: %s", s.Dispatcher, clock(*due), s.Why)
		}
	}
}

// caches finds caches whose last refresh failed.
func (d *doctor) caches() {
	all, err := d.app.api().Caches(d.ctx)
	if err != nil {
		d.bad("not_asked", "", "caches: %v", err)
		return
	}
	for _, c := range all {
		if c.Error == nil {
			continue
		}
		has := "it is empty"
		if c.RefreshedAt != nil {
			has = "readers get the data of " + ago(*c.RefreshedAt)
		}
		d.bad("refresh_failed", "dispatchctl log "+c.Error.Job+" shows what it said", "cache %s: the last refresh failed: %s; %s", c.Name, c.Error.Message, has)
	}
}

// pending finds settings in files that are not in force yet.
func (d *doctor) pending() {
	r, err := d.app.api().Reload(d.ctx, true)
	if err != nil {
		d.bad("not_asked", "", "definitions: %v", err)
		return
	}
	for _, list := range []struct {
		word  string
		names []string
	}{{"new", r.Added}, {"changed", r.Changed}, {"gone", r.Removed}} {
		if len(list.names) > 0 {
			d.note("reload_pending", "dispatchctl reload -n shows it, dispatchctl reload puts it in force", "files of dispatchers are %s since the last reload: %s", list.word, strings.Join(list.names, ", "))
		}
	}
	for _, u := range r.Unread {
		d.note("file_unread", "rename or remove it, then run: dispatchctl reload", "%s", u)
	}
	if len(r.Restart) > 0 {
		d.note("restart_pending", "dispatchctl upgrade puts it in force, with all jobs kept", "dispatchd.toml has other values since the daemon started: %s", strings.Join(r.Restart, ", "))
	}
	for _, f := range r.Faults {
		if strings.Contains(f, "dispatchd.toml:") {
			d.bad("settings_bad", "mend it: the daemon cannot start again with it; dispatchctl check shows the line", "%s", f)
		}
	}
}

// program checks that the daemon still runs the program that is installed.
func (d *doctor) program(pid int) {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return // another user's process, or a system without /proc
	}
	if path, gone := strings.CutSuffix(target, " (deleted)"); gone {
		d.note("upgrade_pending", "dispatchctl upgrade has the daemon become it, with all jobs kept", "%s is another program than the one that runs", path)
	}
}
