package jobs

import (
	"encoding/json"
	"slices"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// archive keeps ended jobs by id, within the bounds of a store.Retention (see
// retention.go). A job is encoded as it comes in, which takes 3 us of the some 700
// us that a job costs: too little to put it off for.
type archive struct {
	keep  store.Retention
	jobs  []archived
	bytes int64
	due   due
}

// share is what one dispatcher has of the archive.
type share struct {
	count int
	bytes int64
}

// archived is one ended job: what lists are filtered by, and the rest encoded.
type archived struct {
	id         ulid.ULID
	dispatcher *Dispatcher
	state      ipc.State
	created    int64
	lived      int64 // when it ended, by the store's Timeline
	small      bool  // nothing of it can be cut any more
	open       bool  // what it left running may still print
	raw        []byte
}

// add takes an ended job of a dispatcher in.
func (a *archive) add(j *store.Job, d *Dispatcher, lived int64) {
	raw, err := json.Marshal(j)
	if err != nil {
		return // cannot be: it was read from JSON or made of valid parts
	}
	a.remove(j.ID)
	i, _ := a.index(j.ID)
	a.jobs = slices.Insert(a.jobs, i, archived{
		id: j.ID, dispatcher: d, state: j.State, created: j.CreatedAt, lived: lived, open: hasOpenOutput(j), raw: raw,
	})
	a.count(d, 1, len(raw))
}

// remove takes a job out.
func (a *archive) remove(id ulid.ULID) {
	if i, found := a.index(id); found {
		a.count(a.jobs[i].dispatcher, -1, -len(a.jobs[i].raw))
		a.jobs = slices.Delete(a.jobs, i, i+1)
	}
}

// count adds to what a dispatcher has, and all have.
func (a *archive) count(d *Dispatcher, jobs, bytes int) {
	d.kept.count += jobs
	d.kept.bytes += int64(bytes)
	a.bytes += int64(bytes)
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
		return &store.Job{ID: e.id, Dispatcher: e.dispatcher.Name, State: e.state, CreatedAt: e.created}
	}
	return &j
}

// encoded lists the jobs for a snapshot.
func (a *archive) encoded() []store.Ended {
	list := make([]store.Ended, len(a.jobs))
	for i, e := range a.jobs {
		list[i] = store.Ended{ID: e.id, Lived: e.lived, Raw: e.raw}
	}
	return list
}
