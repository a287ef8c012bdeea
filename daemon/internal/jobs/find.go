package jobs

import (
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// Bounds of a listing.
const (
	listDefault = 100
	listMost    = 1000
)

// Find finds the job with an id, or with the only id that starts so. Its errors
// are of KindJobUnknown and KindJobAmbiguous.
func (s *State) Find(prefix string) (*Job, error) {
	prefix = strings.ToUpper(prefix)
	if id, err := ulid.ParseStrict(prefix); err == nil {
		if j, ok := s.Job(id); ok {
			return j, nil
		}
	}
	var found []ulid.ULID
	if prefix != "" && len(prefix) < ulid.EncodedSize {
		found = s.startingWith(prefix)
	}
	switch len(found) {
	case 0:
		return nil, ipc.Errorf(ipc.KindJobUnknown, "no job has the id %.40q", prefix)
	case 1:
		j, _ := s.Job(found[0])
		return j, nil
	}
	return nil, ipc.Errorf(ipc.KindJobAmbiguous, "several jobs have an id that starts with %q", prefix)
}

// startingWith lists ids that start so: two are enough.
func (s *State) startingWith(prefix string) []ulid.ULID {
	var found []ulid.ULID
	var text [ulid.EncodedSize]byte
	look := func(id ulid.ULID) bool {
		_ = id.MarshalTextTo(text[:]) // its only error is a buffer of another size
		if string(text[:len(prefix)]) == prefix && !slices.Contains(found, id) {
			found = append(found, id)
		}
		return len(found) < 2
	}
	for id := range s.jobs {
		if !look(id) {
			return found
		}
	}
	for i := range s.archive.jobs {
		if !look(s.archive.jobs[i].id) {
			return found
		}
	}
	return found
}

// List gives jobs, newest first.
func (s *State) List(f ipc.JobFilter) []*Job {
	limit := f.Limit
	if limit <= 0 {
		limit = listDefault
	}
	limit = min(limit, listMost)
	fits := fitting(f)
	top := newest{limit: limit}
	for _, j := range s.jobs { // what has ended comes with the archive
		if !j.state.State.Final() && top.wants(j.state.ID) && fits(j.state.ID, j.state.Dispatcher, j.state.State, j.state.CreatedAt) {
			top.add(j)
		}
	}
	last := len(s.archive.jobs)
	if before, err := ulid.ParseStrict(strings.ToUpper(f.Before)); err == nil {
		last, _ = s.archive.index(before)
	}
	for n, i := 0, last-1; i >= 0 && n < limit && top.wants(s.archive.jobs[i].id); i-- {
		if e := &s.archive.jobs[i]; fits(e.id, e.dispatcher.Name, e.state, e.created) {
			j, _ := s.Job(e.id)
			top.add(j)
			n++
		}
	}
	return top.done()
}

// newest keeps the newest of many jobs: a piece of a list over 100,000 queued ones
// costs one walk, and no sort of all.
type newest struct {
	limit int
	list  []*Job
	least ulid.ULID // of the limit newest so far, zero = there are fewer
}

// wants reports whether a job with this id may be among them.
func (n *newest) wants(id ulid.ULID) bool { return n.least.IsZero() || id.Compare(n.least) > 0 }

// add takes a job in.
func (n *newest) add(j *Job) {
	n.list = append(n.list, j)
	if len(n.list) >= 2*n.limit {
		n.cut()
		n.least = n.list[n.limit-1].ID()
	}
}

// cut leaves the newest, newest first.
func (n *newest) cut() {
	slices.SortFunc(n.list, func(x, y *Job) int { return y.ID().Compare(x.ID()) })
	clear(n.list[min(n.limit, len(n.list)):])
	n.list = n.list[:min(n.limit, len(n.list))]
}

// done gives them.
func (n *newest) done() []*Job {
	n.cut()
	return n.list
}

// fitting tells which jobs a filter lets pass.
func fitting(f ipc.JobFilter) func(id ulid.ULID, dispatcher string, state ipc.State, created int64) bool {
	before, err := ulid.ParseStrict(strings.ToUpper(f.Before))
	any := err != nil
	return func(id ulid.ULID, dispatcher string, state ipc.State, created int64) bool {
		return (f.Dispatcher == "" || f.Dispatcher == dispatcher) && f.Fits(state) &&
			(f.Since.IsZero() || !time.Unix(0, created).Before(f.Since)) && (any || id.Compare(before) < 0)
	}
}
