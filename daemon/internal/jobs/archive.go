package jobs

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// archive keeps ended jobs by id, within the bounds of a store.Retention. A job
// is encoded as it comes in, which takes 3 us of the some 700 us that a job costs:
// too little to put it off for.
type archive struct {
	keep  store.Retention
	jobs  []archived
	bytes int64
}

// archived is one ended job: what lists are filtered by, and the rest encoded.
type archived struct {
	id         ulid.ULID
	dispatcher string
	state      ipc.State
	created    int64
	raw        []byte
}

// add takes an ended job in.
func (a *archive) add(j *store.Job) {
	raw, err := json.Marshal(j)
	if err != nil {
		return // cannot be: it was read from JSON or made of valid parts
	}
	a.remove(j.ID)
	i, _ := a.index(j.ID)
	a.jobs = slices.Insert(a.jobs, i, archived{id: j.ID, dispatcher: j.Dispatcher, state: j.State, created: j.CreatedAt, raw: raw})
	a.bytes += int64(len(raw))
}

// remove takes a job out.
func (a *archive) remove(id ulid.ULID) {
	if i, found := a.index(id); found {
		a.bytes -= int64(len(a.jobs[i].raw))
		a.jobs = slices.Delete(a.jobs, i, i+1)
	}
}

// index is where an id is, or would be.
func (a *archive) index(id ulid.ULID) (int, bool) {
	return slices.BinarySearchFunc(a.jobs, id, func(e archived, id ulid.ULID) int { return e.id.Compare(id) })
}

// get decodes a job.
func (a *archive) get(id ulid.ULID) (*store.Job, bool) {
	i, found := a.index(id)
	if !found {
		return nil, false
	}
	return a.jobs[i].job(), true
}

// job decodes it.
func (e *archived) job() *store.Job {
	var j store.Job
	if json.Unmarshal(e.raw, &j) != nil {
		return &store.Job{ID: e.id, Dispatcher: e.dispatcher, State: e.state, CreatedAt: e.created}
	}
	return &j
}

// prune forgets the oldest jobs until the others are within the bounds, and
// lists those it forgot.
func (a *archive) prune(now time.Time) []ulid.ULID {
	var gone []ulid.ULID
	oldest := now.Add(-a.keep.Age).UnixNano()
	for i := range a.jobs {
		e := &a.jobs[i]
		over := (a.keep.Count > 0 && len(a.jobs)-i > a.keep.Count) || (a.keep.Bytes > 0 && a.bytes > a.keep.Bytes) ||
			(a.keep.Age > 0 && e.created < oldest)
		if !over {
			break
		}
		gone = append(gone, e.id)
		a.bytes -= int64(len(e.raw))
	}
	// Those that stay are moved when the slice grows, not at each end.
	clear(a.jobs[:len(gone)])
	a.jobs = a.jobs[len(gone):]
	return gone
}

// encoded lists the jobs for a snapshot.
func (a *archive) encoded() []store.Ended {
	list := make([]store.Ended, len(a.jobs))
	for i, e := range a.jobs {
		list[i] = store.Ended{ID: e.id, Raw: e.raw}
	}
	return list
}
