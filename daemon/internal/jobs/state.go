package jobs

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// State is what the journal's records add up to. The ids of jobs and the names of
// dispatchers are keys here, and nowhere else but in the queue and the agenda.
type State struct {
	Total ipc.Counters  // of all dispatchers, since the daemon started or was upgraded from
	Drain *ipc.Notifier // who had the daemon drain, and when; nil = it does not

	jobs        map[ulid.ULID]*Job // open, or ended and not yet durable
	open        int                // those that have not ended
	arguments   int64              // bytes of theirs
	dispatchers map[string]*Dispatcher
	keys        keyring
	archive     archive
	accepted    uint64 // jobs that were accepted: gives their order
	lastID      ulid.ULID
	events      feed
}

// New makes an empty state.
func New(keep store.Retention) *State {
	s := &State{archive: archive{keep: keep}}
	s.reset()
	return s
}

// reset forgets everything.
func (s *State) reset() {
	*s = State{
		archive: archive{keep: s.archive.keep}, jobs: map[ulid.ULID]*Job{},
		dispatchers: map[string]*Dispatcher{}, keys: keyring{all: map[store.Key]*Key{}},
	}
}

// Job finds an open or ended job. One of the archive is made anew by each call,
// and has no gate to wait at.
func (s *State) Job(id ulid.ULID) (*Job, bool) {
	if j := s.jobs[id]; j != nil {
		return j, true
	}
	if kept, ok := s.archive.get(id); ok {
		return s.archived(kept), true
	}
	return nil, false
}

// archived makes a job of one in the archive.
func (s *State) archived(kept *store.Job) *Job {
	d := s.dispatchers[kept.Dispatcher]
	if d == nil { // nothing else is known of it
		d = &Dispatcher{Name: kept.Dispatcher, Removed: true}
	}
	return &Job{state: kept, Dispatcher: d}
}

// Open gives the jobs that have not ended, in order of acceptance, as they are
// when it is called: the state may change meanwhile.
func (s *State) Open() iter.Seq[*Job] {
	type place struct { // the order beside the job: sorting does not go to each of 100,000
		seq uint64
		job *Job
	}
	list := make([]place, 0, s.open)
	for _, j := range s.jobs {
		if !j.state.State.Final() {
			list = append(list, place{j.state.Seq, j})
		}
	}
	slices.SortFunc(list, func(x, y place) int { return cmp.Compare(x.seq, y.seq) })
	return func(yield func(*Job) bool) {
		for _, p := range list {
			if !yield(p.job) {
				return
			}
		}
	}
}

// OpenCount counts the jobs that have not ended.
func (s *State) OpenCount() int { return s.open }

// hold counts bytes of arguments that a dispatcher's open jobs have more.
func (s *State) hold(d *Dispatcher, bytes int) {
	d.arguments += int64(bytes)
	s.arguments += int64(bytes)
}

// Held counts the bytes of the arguments of all open jobs, and the idempotency keys
// that are kept.
func (s *State) Held() (arguments int64, keys int) { return s.arguments, len(s.keys.all) }

// Undurable counts the jobs that have ended, and whose end is nowhere but here.
func (s *State) Undurable() int { return len(s.jobs) - s.open }

// History counts the ended jobs.
func (s *State) History() int { return len(s.archive.jobs) }

// NewID makes the next id: ULIDs in order of acceptance, also within a
// millisecond and after the clock went back, even by a restart.
func (s *State) NewID(at time.Time) ulid.ULID {
	id := ulid.Make()
	_ = id.SetTime(ulid.Timestamp(at))
	if id.Compare(s.lastID) <= 0 {
		id = s.lastID
		for i := len(id) - 1; i >= 0; i-- {
			id[i]++
			if id[i] != 0 {
				break
			}
		}
	}
	s.lastID = id
	return id
}

// Gates are those that a record passes, which was applied just now: of its job
// or its dispatcher, of its idempotency key, of its event.
func (s *State) Gates(r store.Record) []*durable.Gate {
	var gates []*durable.Gate
	if r.ID.IsZero() {
		gates = append(gates, s.dispatcher(r.Dispatcher).Gate())
	} else if j := s.jobs[r.ID]; j != nil {
		gates = append(gates, j.Gate())
		if k := s.keys.all[keyOf(r, j.Dispatcher.Name)]; r.Key != "" && k != nil {
			gates = append(gates, k.begin())
		}
	}
	if e := s.events.newest(); e != nil {
		gates = append(gates, &e.gate)
	}
	return gates
}

// settled is called once the end of a job is durable.
func (s *State) settled(j *Job) {
	if s.jobs[j.ID()] != j {
		return // withdrawn
	}
	delete(s.jobs, j.ID())
	j.Dispatcher.ended(j.state)
	j.Dispatcher.retire()
	j.settle()
}

// Withdraw takes an accepted job back, whatever it has come to meanwhile: its
// acceptance could not be made durable, and its client was told so. Whoever saw
// it in a list and waits for its end does not wait for ever.
func (s *State) Withdraw(id ulid.ULID) {
	j := s.jobs[id]
	if j == nil {
		return
	}
	delete(s.jobs, id)
	if j.state.State.Final() {
		s.archive.remove(id)
	} else {
		s.close(j)
	}
	s.keys.drop(func(k *Key) bool { return k.Job == id })
	s.events.withdraw(id)
	j.Dispatcher.retire()
	j.gate.Drop()
	j.AwaitEnd() // whoever holds the object and asks later does not wait either
	j.settle()
}

// close takes a job out of the open ones.
func (s *State) close(j *Job) {
	s.open--
	j.Dispatcher.open--
	s.hold(j.Dispatcher, -len(j.state.Arguments))
	delete(j.Dispatcher.Running, j)
}

// Prune keeps history and keys within their bounds, and lists the jobs that it
// forgot. now is of the store's Timeline: what the wall clock says is no age.
func (s *State) Prune(now time.Duration) []ulid.ULID {
	gone := s.archive.prune(now)
	s.keys.prune(now, s.known)
	return gone
}
