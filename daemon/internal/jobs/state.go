package jobs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// keyLife is how long a key is kept at least: a day and an hour, so that a
// daily caller's repeat finds it.
const keyLife = 25 * time.Hour

// ended is one job of the history: what is filtered by, and the rest encoded.
type ended struct {
	id         ulid.ULID
	dispatcher string
	state      ipc.State
	created    int64
	ended      int64
	raw        []byte
	fresh      *store.Job // not yet encoded
}

// State is what the journal's records add up to. One goroutine owns it.
type State struct {
	keep    store.Retention
	seq     uint64
	open    map[ulid.ULID]*store.Job
	history []ended // by id
	bytes   int64
	fresh   []ulid.ULID // in the history, not yet encoded
	paused  map[string]bool
	keys    map[store.Key]store.Keyed
	keysAt  time.Time // when to look for old keys again
	cursors map[string]store.Cursor
}

// New makes an empty state.
func New(keep store.Retention) *State {
	s := &State{keep: keep}
	s.reset()
	return s
}

// reset forgets everything.
func (s *State) reset() {
	*s = State{
		keep: s.keep, open: map[ulid.ULID]*store.Job{}, paused: map[string]bool{},
		keys: map[store.Key]store.Keyed{}, cursors: map[string]store.Cursor{},
	}
}

// remember keeps a record's idempotency key.
func (s *State) remember(r store.Record, j *store.Job) {
	if r.Key != "" {
		s.keys[store.Key{UID: r.KeyUID, Dispatcher: j.Dispatcher, Key: r.Key}] = store.Keyed{Job: j.ID, Hash: r.ArgHash, At: r.At}
	}
}

// maxFresh bounds the jobs that wait to be encoded.
const maxFresh = 32

// file puts an ended job into the history. It is encoded by settle: the next
// job's start need not wait for that.
func (s *State) file(j *store.Job) {
	e := ended{id: j.ID, dispatcher: j.Dispatcher, state: j.State, created: j.CreatedAt, fresh: j}
	if j.Run != nil {
		e.ended = j.Run.EndedAt
	}
	if i, found := s.place(j.ID); found {
		s.bytes -= int64(len(s.history[i].raw))
		s.history[i] = e
	} else {
		s.history = slices.Insert(s.history, i, e)
	}
	if s.fresh = append(s.fresh, j.ID); len(s.fresh) == maxFresh {
		s.settle()
	}
}

// settle encodes what has come into the history.
func (s *State) settle() {
	for _, id := range s.fresh {
		i, found := s.place(id)
		if !found || s.history[i].fresh == nil {
			continue // withdrawn, or filed twice
		}
		e := &s.history[i]
		raw, err := json.Marshal(e.fresh)
		if err != nil { // cannot be: it was read from JSON or made of valid parts
			s.history = slices.Delete(s.history, i, i+1)
			continue
		}
		e.raw, e.fresh = raw, nil
		s.bytes += int64(len(raw))
	}
	s.fresh = s.fresh[:0]
}

// place is where an id is, or would be, in the history.
func (s *State) place(id ulid.ULID) (int, bool) {
	return slices.BinarySearchFunc(s.history, id, func(e ended, id ulid.ULID) int { return e.id.Compare(id) })
}

// job decodes a job of the history.
func (e *ended) job() *store.Job {
	if e.fresh != nil {
		return e.fresh
	}
	var j store.Job
	if json.Unmarshal(e.raw, &j) != nil {
		return &store.Job{ID: e.id, Dispatcher: e.dispatcher, State: e.state, CreatedAt: e.created}
	}
	return &j
}

// Job is an open or ended job.
func (s *State) Job(id ulid.ULID) (*store.Job, bool) {
	if j := s.open[id]; j != nil {
		return j, true
	}
	if i, found := s.place(id); found {
		return s.history[i].job(), true
	}
	return nil, false
}

// Find is the job with an id, or with the only id that starts so.
func (s *State) Find(prefix string) (*store.Job, error) {
	prefix = strings.ToUpper(prefix)
	if id, err := ulid.ParseStrict(prefix); err == nil {
		if j, ok := s.Job(id); ok {
			return j, nil
		}
	}
	unknown := ipc.Errorf(ipc.KindJobUnknown, "no job has the id %.40q", prefix)
	unknown.Suggestion = "see: dispatchctl jobs"
	if prefix == "" || len(prefix) >= ulid.EncodedSize {
		return nil, unknown
	}
	var found []ulid.ULID
	for id := range s.open {
		if strings.HasPrefix(id.String(), prefix) {
			found = append(found, id)
		}
	}
	for i := range s.history {
		if len(found) < 3 && strings.HasPrefix(s.history[i].id.String(), prefix) {
			found = append(found, s.history[i].id)
		}
	}
	switch len(found) {
	case 0:
		return nil, unknown
	case 1:
		j, _ := s.Job(found[0])
		return j, nil
	}
	p := ipc.Errorf(ipc.KindJobAmbiguous, "several jobs have an id that starts with %q", prefix)
	p.Suggestion = "give more of it"
	return nil, p
}

// Open lists the open jobs in order of acceptance.
func (s *State) Open() []*store.Job {
	return slices.SortedFunc(maps.Values(s.open), func(x, y *store.Job) int { return cmp.Compare(x.Seq, y.Seq) })
}

// OpenCount counts the open jobs.
func (s *State) OpenCount() int { return len(s.open) }

// History counts the ended jobs.
func (s *State) History() int { return len(s.history) }

// LastID is the greatest id of a job that is known.
func (s *State) LastID() ulid.ULID {
	var last ulid.ULID
	if n := len(s.history); n > 0 {
		last = s.history[n-1].id
	}
	for id := range s.open {
		if id.Compare(last) > 0 {
			last = id
		}
	}
	return last
}

// Cursor gives where a dispatcher's schedule stood last.
func (s *State) Cursor(dispatcher string) (store.Cursor, bool) {
	t, ok := s.cursors[dispatcher]
	return t, ok
}

// Paused lists the paused dispatchers by name.
func (s *State) Paused() []string { return slices.Sorted(maps.Keys(s.paused)) }

// Key finds the job of an idempotency key.
func (s *State) Key(k store.Key) (ulid.ULID, string, bool) {
	v, ok := s.keys[k]
	return v.Job, v.Hash, ok
}

// Forget withdraws an accepted job, also one that was canceled meanwhile.
func (s *State) Forget(id ulid.ULID) {
	delete(s.open, id)
	if i, found := s.place(id); found {
		s.bytes -= int64(len(s.history[i].raw))
		s.history = slices.Delete(s.history, i, i+1)
	}
	maps.DeleteFunc(s.keys, func(_ store.Key, v store.Keyed) bool { return v.Job == id })
}

// List gives jobs, newest first.
func (s *State) List(f ipc.JobFilter) []*store.Job {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 1000)
	before := bytes.Repeat([]byte{0xff}, 16)
	if id, err := ulid.ParseStrict(strings.ToUpper(f.Before)); err == nil {
		before = id[:]
	}
	fits := func(id ulid.ULID, d string, s ipc.State, created int64) bool {
		return (f.Dispatcher == "" || f.Dispatcher == d) && (f.State == "" || f.State == s) &&
			(f.Since.IsZero() || !time.Unix(0, created).Before(f.Since)) && bytes.Compare(id[:], before) < 0
	}
	var list []*store.Job
	for _, j := range s.open {
		if fits(j.ID, j.Dispatcher, j.State, j.CreatedAt) {
			list = append(list, j)
		}
	}
	for n, i := 0, len(s.history)-1; i >= 0 && n < limit; i-- {
		if e := &s.history[i]; fits(e.id, e.dispatcher, e.state, e.created) {
			list = append(list, e.job())
			n++
		}
	}
	slices.SortFunc(list, func(x, y *store.Job) int { return y.ID.Compare(x.ID) })
	return list[:min(limit, len(list))]
}

// Prune keeps history and keys within their bounds, and lists the jobs that it
// forgot. The oldest go first.
func (s *State) Prune(now time.Time) []ulid.ULID {
	s.settle()
	var gone []ulid.ULID
	oldest := now.Add(-s.keep.Age).UnixNano()
	n := 0
	for ; n < len(s.history); n++ {
		e := &s.history[n]
		over := (s.keep.Count > 0 && len(s.history)-n > s.keep.Count) || (s.keep.Bytes > 0 && s.bytes > s.keep.Bytes) ||
			(s.keep.Age > 0 && e.created < oldest)
		if !over {
			break
		}
		gone = append(gone, e.id)
		s.bytes -= int64(len(e.raw))
	}
	if n == 0 {
		return nil
	}
	clear(s.history[:n])
	s.history = s.history[n:] // those that stay are moved when it grows, not at each end
	s.pruneKeys(now)
	return gone
}

// keysEvery is how often old keys are looked for: all are looked at.
const keysEvery = 10 * time.Minute

// pruneKeys forgets keys that are old and whose job is gone.
func (s *State) pruneKeys(now time.Time) {
	if now.Before(s.keysAt) {
		return
	}
	s.keysAt = now.Add(keysEvery)
	old := now.Add(-keyLife).UnixNano()
	maps.DeleteFunc(s.keys, func(_ store.Key, v store.Keyed) bool {
		if v.At >= old {
			return false
		}
		_, known := s.Job(v.Job)
		return !known
	})
}
