package jobs

import (
	"errors"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

var errDisk = errors.New("disk")

// desk is a state with an owner that applies records, and a journal that answers
// when the test says so.
type desk struct {
	*State
	t       tester
	writing [][]*durable.Gate // of the records without an answer, oldest first
	failed  []*durable.Gate
}

// tester is a testing.TB or a rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newDesk(t tester) *desk { return &desk{State: New(store.Retention{}), t: t} }

// apply applies a record and gives it to the journal.
func (d *desk) apply(r store.Record) *Job {
	d.t.Helper()
	j, err := d.Apply(r)
	if err != nil {
		d.t.Fatal(err)
	}
	gates := d.Gates(r)
	for _, g := range gates {
		g.Begin()
	}
	d.writing = append(d.writing, gates)
	return j
}

// answer answers the oldest record.
func (d *desk) answer(err error) {
	d.t.Helper()
	if len(d.writing) == 0 {
		d.t.Fatal("nothing is on its way to the disk")
	}
	gates := d.writing[0]
	d.writing = d.writing[1:]
	for _, g := range gates {
		g.End(err)
		if err != nil {
			d.failed = append(d.failed, g)
		}
	}
}

// flush answers for all records.
func (d *desk) flush() {
	for len(d.writing) > 0 {
		d.answer(nil)
	}
}

// saved says that a whole journal was written.
func (d *desk) saved() {
	for _, g := range d.failed {
		g.Saved()
	}
	d.failed = nil
}

// accept is the acceptance of a new job.
func (d *desk) accept(dispatcher string) store.Record {
	id := d.NewID(now())
	return store.Record{Op: store.OpAccept, ID: id, At: 1, Job: &store.Job{ID: id, Dispatcher: dispatcher, State: ipc.Queued, CreatedAt: now().UnixNano()}}
}

// accepted accepts a job for good.
func (d *desk) accepted(dispatcher string) *Job {
	d.t.Helper()
	j := d.apply(d.accept(dispatcher))
	d.flush()
	return j
}

func start(id ulid.ULID) store.Record {
	return store.Record{Op: store.OpStart, ID: id, At: 2, Attempt: 1}
}

func end(id ulid.ULID, s ipc.State) store.Record {
	return store.Record{Op: store.OpEnd, ID: id, At: 3, State: s, Run: &store.Outcome{StartedAt: 2, EndedAt: 3}}
}

// over reports whether a channel is closed.
func over(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// must finds a job.
func (d *desk) must(id ulid.ULID) *Job {
	d.t.Helper()
	j, ok := d.Job(id)
	if !ok {
		d.t.Fatalf("job %s is not known", id)
	}
	return j
}
