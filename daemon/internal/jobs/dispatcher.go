package jobs

import (
	"iter"
	"maps"
	"slices"
	"time"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// Dispatcher is what is known of one dispatcher: its definition, what its records
// say of it, and what its jobs have come to since the daemon started.
type Dispatcher struct {
	Name    string
	Spec    *dispatchers.Spec   // in force, or the last one while jobs of a removed dispatcher are open; nil = none
	Faults  []dispatchers.Fault // of its file: it is disabled, or its last good Spec is in force
	Removed bool                // no definition of that name is there any more
	Paused  bool                // by the admin, over restarts

	Cursor   *store.Cursor         // where its schedule stands, nil = nowhere; never changed, replaced by State.Apply
	Deferred *scheduler.Occurrence // due, and could not be journaled; nil = none
	Refresh  Backoff               // of its cache
	Wishes   []Wish                // readers for whom a refresh of its cache is being submitted

	Counters    ipc.Counters // since the daemon started
	Last        LastJob
	LastSuccess LastJob
	Running     map[*Job]struct{}

	// Spare is the supervisor of the run that has just ended. It serves the next
	// one if that starts at once, so that a row of short jobs pays for one; nil =
	// there is none.
	Spare Spare

	gate      durable.Gate // of the records that are about no job
	open      int          // jobs that have not ended
	keys      int          // idempotency keys
	arguments int64        // bytes of those of open jobs
	kept      share        // of the archive
}

// Spare is a supervisor that can serve one more job.
type Spare interface {
	Discard() // ends it
}

// LastJob is the job of a dispatcher whose end was told last. It is known over
// restarts: the history keeps it.
type LastJob struct {
	ID      string // "" = none
	State   ipc.State
	EndedAt int64 // Unix nanoseconds, 0 = not known
}

// ended notes the job of the dispatcher that has ended last.
func (d *Dispatcher) ended(j *store.Job) {
	d.Last = LastJob{ID: j.ID.String(), State: j.State}
	if j.Run != nil {
		d.Last.EndedAt = j.Run.EndedAt
	}
	if j.State == ipc.Succeeded {
		d.LastSuccess = d.Last
	}
}

// Gate keeps back what depends on the dispatcher's own records: a pause, where
// its schedule stands.
func (d *Dispatcher) Gate() *durable.Gate { return &d.gate }

// Keys counts the idempotency keys that are kept of it.
func (d *Dispatcher) Keys() int { return d.keys }

// Arguments counts the bytes of the arguments of its open jobs.
func (d *Dispatcher) Arguments() int64 { return d.arguments }

// Idle reports that no job of it is open.
func (d *Dispatcher) Idle() bool { return d.open == 0 }

// Dispatcher finds a dispatcher that has, or had, a definition or jobs; nil =
// nobody knows that name.
func (s *State) Dispatcher(name string) *Dispatcher { return s.dispatchers[name] }

// Dispatchers gives all dispatchers by name, removed ones too.
func (s *State) Dispatchers() iter.Seq[*Dispatcher] {
	return func(yield func(*Dispatcher) bool) {
		for _, name := range slices.Sorted(maps.Keys(s.dispatchers)) {
			if !yield(s.dispatchers[name]) {
				return
			}
		}
	}
}

// Paused lists the paused dispatchers by name.
func (s *State) Paused() []string {
	var names []string
	for name, d := range s.dispatchers {
		if d.Paused {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Define puts the definitions of a catalog in force. A dispatcher that is not in
// it any more is Removed, and keeps its Spec until its last job has ended.
func (s *State) Define(c *dispatchers.Catalog) {
	for _, d := range s.dispatchers {
		d.Removed, d.Faults = true, nil
	}
	for _, name := range c.Names() {
		d := s.dispatcher(name)
		d.Spec, d.Faults, d.Removed = c.Specs[name], c.Disabled[name], false
	}
	for _, d := range s.dispatchers {
		d.retire()
	}
}

// retire forgets the definition of a removed dispatcher without jobs.
func (d *Dispatcher) retire() {
	if d.Removed && d.open == 0 {
		d.Spec = nil
	}
}

// dispatcher finds a dispatcher, or makes one.
func (s *State) dispatcher(name string) *Dispatcher {
	d := s.dispatchers[name]
	if d == nil {
		d = &Dispatcher{Name: name, Running: map[*Job]struct{}{}}
		s.dispatchers[name] = d
	}
	return d
}

// Count adds one to the same counter of a dispatcher and of all. Apply counts
// what records say; the owner counts what leads to no record.
func (s *State) Count(d *Dispatcher, pick func(*ipc.Counters) *int64) {
	*pick(&d.Counters)++
	*pick(&s.Total)++
}

// count counts an applied record.
func (s *State) count(op store.Op, j *Job) {
	switch op {
	case store.OpAccept:
		s.Count(j.Dispatcher, func(c *ipc.Counters) *int64 { return &c.Accepted })
	case store.OpJoin:
		s.Count(j.Dispatcher, func(c *ipc.Counters) *int64 { return &c.Coalesced })
	case store.OpEnd:
		s.Count(j.Dispatcher, func(c *ipc.Counters) *int64 { return endCounter(c, j.state.State) })
	}
}

// endCounter picks the counter of a final state.
func endCounter(c *ipc.Counters, state ipc.State) *int64 {
	switch state {
	case ipc.Succeeded:
		return &c.Succeeded
	case ipc.Canceled, ipc.Expired:
		return &c.Canceled
	case ipc.Queued, ipc.Running, ipc.Failed, ipc.TimedOut, ipc.Interrupted:
	}
	return &c.Failed
}

// Wish is called with the job that refreshes a cache for a reader, "" = none, or
// with the reason why there is none.
type Wish func(job string, err error)

// Answer tells all readers who wait for it what became of a refresh.
func (d *Dispatcher) Answer(job string, err error) {
	wishes := d.Wishes
	d.Wishes = nil
	for _, w := range wishes {
		w(job, err)
	}
}

// Readers of a cache whose refresh has failed trigger no other for a time that
// doubles.
const (
	refreshPause    = 5 * time.Second
	refreshPauseMax = 5 * time.Minute
)

// Backoff keeps readers of a cache from having a failing refresh tried again at
// once. The zero value is that of a cache whose last refresh did not fail.
type Backoff struct {
	failures int
	until    time.Duration // readers trigger no refresh before this time
	err      ipc.CacheError
}

// Failed notes that a refresh has failed at now.
func (b *Backoff) Failed(now time.Duration, e ipc.CacheError) {
	b.until = now + min(refreshPause<<min(b.failures, 10), refreshPauseMax)
	b.failures++
	b.err = e
}

// Succeeded notes that a refresh brought data.
func (b *Backoff) Succeeded() { *b = Backoff{} }

// Wait reports whether readers trigger no refresh now.
func (b *Backoff) Wait(now time.Duration) bool { return b.failures > 0 && now < b.until }

// Err is why the last refresh failed, and for how many seconds readers have none
// tried; nil = it did not fail.
func (b *Backoff) Err(now time.Duration) *ipc.CacheError {
	if b.failures == 0 {
		return nil
	}
	e := b.err
	e.RetryAfter = int(max(0, b.until-now+time.Second-1) / time.Second)
	return &e
}
