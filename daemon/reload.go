package daemon

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/queue"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// definitions puts definitions in force.
type definitions struct{ timetable }

// defining gives the definitions of the state.
func defining(s *state) definitions { return definitions{scheduling(s)} }

// read loads all definitions from disk.
func (h *host) read() *dispatchers.Catalog {
	return dispatchers.Load(dispatchers.Options{
		Dirs:      []string{h.cfg.Paths.Packages, h.cfg.Paths.Dispatchers},
		Functions: h.cfg.Functions, TrustUID: os.Geteuid(), Zones: h.zones, Path: h.settings.Path, MayRunAs: func(user, group string) string { return launch.RunAsFault(h.build.Users, user, group) },
	})
}

// load reads the definitions at the start.
func (s definitions) load() {
	c := s.read()
	s.noteMissing(c)
	s.catalog.Store(c)
	s.jobs.Define(c)
	for _, name := range c.Names() {
		if spec := c.Specs[name]; spec != nil {
			s.core.Define(s.now(), rules(spec))
		}
	}
	s.logFaults(c)
	s.protectCaches(c)
	s.plan(c)
}

// logFaults logs each bad file, in words that say where to mend it.
func (h *host) logFaults(c *dispatchers.Catalog) {
	for _, name := range slices.Sorted(maps.Keys(c.Disabled)) {
		h.log.Error("dispatcher disabled", "dispatcher", name, "reason", reason(c.Disabled[name]))
	}
	for _, f := range c.Warnings {
		h.log.Warn("a dispatcher's jobs would fail on this host as it is now", "reason", f.Error())
	}
	for _, f := range c.Unread {
		h.log.Warn("what looks like a definition is not read", "file", f.File, "reason", f.Message, "suggestion", f.Suggestion)
	}
	for _, f := range c.Unlisted {
		h.log.Error("a directory of definitions cannot be read, and what is in it is not known", "directory", f.File, "reason", f.Message)
	}
}

// Reload reads all definitions anew. A bad file changes nothing: its
// dispatcher keeps its last good definition. Queued and running jobs are kept;
// those of a removed dispatcher run to their end. A dry run only says what
// would change.
func (b *backend) Reload(ctx context.Context, by ipc.Peer, dry bool) (ipc.Reload, error) {
	if err := b.allow(query{Verb: server.VerbReload, Peer: by}); err != nil {
		return ipc.Reload{}, err // before anything is read
	}
	if !dry {
		defer b.manager.reloading()()
	}
	next := b.read()
	settings, faults := dispatchers.LoadSettings(b.cfg.Paths.Config)
	var report ipc.Reload
	err := b.do(ctx, func(s *state) {
		old := s.catalog.Load()
		b.noteGone(old, next)
		next.KeepGood(old)
		report = compare(old, next)
		if !dry {
			defining(s).putInForce(next, report)
		}
	})
	if err != nil {
		return report, err
	}
	for _, f := range faults {
		report.Faults = append(report.Faults, f.Error())
	}
	if len(faults) == 0 {
		report.Restart = append(report.Restart, b.settings.Differing(settings)...)
	}
	if dry {
		return report, nil
	}
	b.log.Info("reloaded", "uid", by.UID, "added", len(report.Added), "changed", len(report.Changed),
		"removed", len(report.Removed), "faults", len(report.Faults))
	if len(report.Restart) > 0 {
		b.log.Warn("dispatchd.toml has other values, which count from the next start or upgrade on", "keys", strings.Join(report.Restart, ", "))
	}
	return report, nil
}

// compare says what is another in the next catalog.
func compare(old, next *dispatchers.Catalog) ipc.Reload {
	report := ipc.Reload{Added: []string{}, Changed: []string{}, Removed: []string{}, Faults: []string{}, Disabled: []string{}, Restart: []string{}, Warnings: []string{}, Unread: []string{}}
	for _, f := range next.Faults {
		report.Faults = append(report.Faults, f.Error())
	}
	for _, f := range next.Warnings {
		report.Warnings = append(report.Warnings, f.Error())
	}
	for _, f := range next.Unread {
		report.Unread = append(report.Unread, f.Error())
	}
	report.Disabled = slices.AppendSeq(report.Disabled, maps.Keys(next.Disabled))
	for name, spec := range next.Specs {
		was := old.Specs[name]
		switch {
		case was == nil:
			report.Added = append(report.Added, name)
		case !reflect.DeepEqual(was, spec):
			report.Changed = append(report.Changed, name)
		}
	}
	for name := range old.Specs {
		if next.Specs[name] == nil {
			report.Removed = append(report.Removed, name)
		}
	}
	for _, list := range [][]string{report.Added, report.Changed, report.Removed, report.Disabled} {
		slices.Sort(list)
	}
	return report
}

// putInForce makes a new catalog the one that counts. It tells the queue what
// changed, and resolves the locks of queued jobs by their new definition.
func (s definitions) putInForce(next *dispatchers.Catalog, report ipc.Reload) {
	s.catalog.Store(next)
	s.jobs.Define(next)
	for _, name := range slices.Concat(report.Added, report.Changed) {
		s.perform(s.core.Define(s.now(), rules(next.Specs[name])))
		// One that was disabled at the start was paused; the admin's pause stays.
		s.perform(s.core.Pause(s.now(), name, s.jobs.Dispatcher(name).Paused))
	}
	for _, name := range report.Removed {
		s.core.Remove(s.now(), name)
	}
	if len(report.Changed) > 0 {
		s.relock(report.Changed)
	}
	s.perform(s.core.Tick(s.now()))
	s.protectCaches(next)
	s.plan(next)
	s.logFaults(next)
}

// relock resolves the locks of queued jobs by the definition that is in force.
func (s definitions) relock(changed []string) {
	for job := range s.jobs.Open() {
		if job.State().State != ipc.Queued || !slices.Contains(changed, job.Dispatcher.Name) {
			continue
		}
		if locks, err := job.Dispatcher.Spec.Locks(job.State().Arguments); err == nil {
			s.inTurn(s.core.Relock(s.now(), queue.ID(job.ID()), coreLocks(locks)))
		}
	}
}

// holdFor is how long a job waits for its definition, from the daemon's start on.
const holdFor = 300 * time.Second

// placeholder defines a held dispatcher for the restored jobs of one that has no
// definition: they wait until there is one, or expire. The first of them has waited
// longest.
func (s definitions) placeholder(job *jobs.Job) *dispatchers.Spec {
	name := job.Dispatcher.Name
	if queued, running := s.core.DispatcherCounts(name); queued+running == 0 {
		s.core.Define(s.now(), queue.Rules{Name: name, Concurrency: 1, QueueTimeout: s.waited(job.State()) + holdFor})
		s.core.Hold(name)
	}
	return &dispatchers.Spec{Name: name, Concurrency: 1, OnInterrupt: mode.Fail, SuccessExitCodes: []int{0}}
}

// noteMissing says that the admin's directory is not there although the journal knows
// dispatchers that nothing defines: they are not gone, but not known.
func (s definitions) noteMissing(c *dispatchers.Catalog) {
	var names []string
	for d := range s.jobs.Dispatchers() {
		if _, bad := c.Disabled[d.Name]; !bad && c.Specs[d.Name] == nil && dispatchers.ValidName(d.Name) {
			names = append(names, d.Name)
		}
	}
	if dir := s.cfg.Paths.Dispatchers; len(names) > 0 && missing(dir) {
		c.NoteMissing(dir, names)
	}
}

// noteGone says that directories are not there any more from which definitions are in
// force.
func (h *host) noteGone(old, next *dispatchers.Catalog) {
	for _, dir := range []string{h.cfg.Paths.Packages, h.cfg.Paths.Dispatchers} {
		var names []string
		for _, name := range old.Names() {
			if spec := old.Specs[name]; spec != nil && filepath.Dir(spec.Origin) == dir && next.Specs[name] == nil {
				names = append(names, name)
			}
		}
		if len(names) > 0 && missing(dir) {
			next.NoteMissing(dir, names)
		}
	}
}

// rules is the part of a definition that the queue decides by.
func rules(s *dispatchers.Spec) queue.Rules {
	return queue.Rules{
		Name: s.Name, MaxQueue: s.MaxQueue, Concurrency: s.Concurrency,
		QueueTimeout: time.Duration(s.QueueTimeout), Timeout: time.Duration(s.Timeout),
		Coalesce: s.Coalesce, Debounce: time.Duration(s.Debounce), DebounceMax: time.Duration(s.DebounceMax),
		Retries: s.Retry.Attempts, Backoff: time.Duration(s.Retry.Backoff), MaxBackoff: time.Duration(s.Retry.MaxBackoff),
	}
}
