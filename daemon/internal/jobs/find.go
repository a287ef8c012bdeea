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
	var list []*Job
	for _, j := range s.jobs { // what has ended comes with the archive
		if !j.state.State.Final() && fits(j.state.ID, j.state.Dispatcher, j.state.State, j.state.CreatedAt) {
			list = append(list, j)
		}
	}
	for n, i := 0, len(s.archive.jobs)-1; i >= 0 && n < limit; i-- {
		if e := &s.archive.jobs[i]; fits(e.id, e.dispatcher.Name, e.state, e.created) {
			j, _ := s.Job(e.id)
			list = append(list, j)
			n++
		}
	}
	slices.SortFunc(list, func(x, y *Job) int { return y.ID().Compare(x.ID()) })
	return list[:min(limit, len(list))]
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
