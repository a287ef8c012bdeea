package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// world is what clients were told and what children did: it outlives the
// daemons, and nothing of it is read from the store.
type world struct {
	mu   sync.Mutex
	jobs map[ulid.ULID]*fact
	off  bool // the power went: nobody hears anything any more
}

// fact is what is known outside of one job.
type fact struct {
	name      string // of the dispatcher
	args      string
	level     mode.Durability
	accepted  bool // its client was told so
	refused   bool // its client was told that it failed
	doubt     bool // and that nobody knows whether it was written
	running   bool
	starts    int // children that were started
	told      ipc.State
	withdrawn bool
}

// owner does with state, queue, log and journal what the daemon's loop does.
type owner struct {
	w     *world
	state *jobs.State
	core  *queue.Core
	log   *durable.Log
	j     *store.Journal
	epoch time.Time
	bad   error // something that must not be

	mu    sync.Mutex
	posts []func()

	broken bool // the journal
	roomy  bool // there was space when it started
}

// ear is the journal with somebody who hears its answers at once, on the
// writer's goroutine: what was answered by then must outlive a power cut.
type ear struct {
	*store.Journal
	o *owner
}

// Append is the journal's.
func (e ear) Append(rec store.Record, d mode.Durability, urgent bool, done func(error)) {
	e.Journal.Append(rec, d, urgent, func(err error) {
		e.o.hear(func() { e.o.answered(rec, err) })
		done(err)
	})
}

// answered notes what the journal said of a record.
func (o *owner) answered(rec store.Record, err error) {
	f := o.w.jobs[rec.ID]
	switch {
	case f == nil: // of no job
	case rec.Op == store.OpAccept && err != nil:
		f.refused, f.doubt = true, errors.Is(err, store.ErrInDoubt)
	case err != nil:
	case rec.Op == store.OpAccept, rec.Op == store.OpJoin:
		f.accepted = true // to join a job is to be told that there is one
		if f.withdrawn {
			o.bad = fmt.Errorf("%s of %s was confirmed after its job was withdrawn", rec.Op, rec.ID)
		}
	case rec.Op == store.OpStart:
		f.starts++
		if f.refused || (f.starts > 1 && f.level == mode.Disk) {
			o.bad = fmt.Errorf("job %s: started %d times, refused %v", rec.ID, f.starts, f.refused)
		}
	case rec.Op == store.OpEnd:
		f.told = rec.State
	}
}

// level is the durability of a dispatcher.
func level(name string) mode.Durability {
	switch name {
	case "soft":
		return mode.Relaxed
	case "gone":
		return mode.Memory
	}
	return mode.Disk
}

// pass lets time pass in the bubble that all of this runs in.
func pass(d time.Duration) { <-time.After(d) }

func rulesOf(name string) queue.Rules {
	return queue.Rules{Name: name, MaxQueue: 20, Concurrency: map[string]int{"one": 1, "many": 3, "soft": 2, "gone": 2}[name], Coalesce: name == "many"}
}

// newOwner opens a disk; nothing runs yet.
func newOwner(w *world, d *store.MemDisk) (*owner, store.Report, error) {
	o := &owner{w: w, state: jobs.New(store.Retention{Count: 200}), core: queue.New(queue.Limits{}), epoch: time.Now()}
	j, report, err := store.OpenOn(d, 2*store.Page, o.state.Replay())
	if o.j = j; err != nil {
		return nil, report, err
	}
	for _, name := range []string{"one", "many", "soft", "gone"} {
		o.core.Define(o.now(), rulesOf(name))
	}
	o.log = durable.New(ear{j, o}, durable.Owner{
		Log: slog.New(slog.DiscardHandler), Post: o.post, Snapshot: o.state.Snapshot,
		Broken: func(error) {
			o.broken = true
			o.core.Freeze(true)
		},
		Works: func() {
			o.broken = false
			o.core.Freeze(false)
			o.perform(o.core.Tick(o.now()))
		},
	})
	return o, report, nil
}

// begin brings the jobs back that the disk has.
func (o *owner) begin() {
	for _, name := range o.state.Paused() {
		o.core.Pause(o.now(), name, true)
	}
	for j := range o.state.Open() {
		if j.State().State == ipc.Running {
			o.end(j, ipc.Interrupted)
			continue
		}
		o.decided(nil, o.core.Restore(o.now(), queue.Restored{Submission: submission(j.State()), Attempt: int(j.State().Attempt)}))
	}
	o.perform(o.core.Tick(o.now()))
}

func submission(job *store.Job) queue.Submission {
	return queue.Submission{ID: queue.ID(job.ID), Dispatcher: job.Dispatcher, Key: string(job.Arguments)}
}

func (o *owner) now() time.Duration { return time.Since(o.epoch) }

func (o *owner) post(fn func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.posts = append(o.posts, fn)
}

// settle lets everybody work until nothing is left to do now.
func (o *owner) settle() {
	for {
		synctest.Wait()
		o.mu.Lock()
		posts := o.posts
		o.posts = nil
		o.mu.Unlock()
		if len(posts) == 0 {
			return
		}
		for _, fn := range posts {
			fn()
		}
	}
}

// hear runs fn unless the power went: then nobody heard the answer.
func (o *owner) hear(fn func()) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if !o.w.off {
		fn()
	}
}

// record applies a record and gives it to the journal.
func (o *owner) record(rec store.Record, d mode.Durability, urgent bool, then func(error)) *jobs.Job {
	j, err := o.state.Apply(rec)
	if err != nil {
		o.bad = err
		return nil
	}
	if j != nil {
		d = j.Level(d)
	}
	o.log.Write(rec, d, urgent, then, o.state.Gates(rec)...)
	return j
}

// submit is a client's notify.
func (o *owner) submit(name, args string) {
	if o.log.Err() != nil {
		return
	}
	id := ulid.Make()
	v, effects, err := o.core.Submit(o.now(), queue.Submission{ID: queue.ID(id), Dispatcher: name, Key: args})
	if o.decided(nil, err); v.Refused != "" {
		return
	}
	at := time.Now()
	rec := store.Record{Op: store.OpJoin, ID: ulid.ULID(v.ID), At: at.UnixNano(), By: &ipc.Notifier{At: at}}
	if !v.Joined {
		rec.Op, rec.By = store.OpAccept, nil
		rec.Job = &store.Job{ID: id, Dispatcher: name, State: ipc.Queued, Arguments: []byte(args), CreatedAt: at.UnixNano(), Volatile: level(name) == mode.Memory}
		o.hear(func() { o.w.jobs[id] = &fact{name: name, args: args, level: level(name)} })
	}
	o.record(rec, level(name), true, func(err error) {
		if err != nil && rec.Op == store.OpAccept {
			o.withdraw(rec.ID)
		}
	})
	o.perform(effects)
}

func (o *owner) withdraw(id ulid.ULID) {
	o.hear(func() { o.w.jobs[id].withdrawn = true })
	effects := o.core.Withdraw(o.now(), queue.ID(id))
	o.state.Withdraw(id)
	o.perform(effects)
}

// decided performs what the queue decided; an event out of turn is a fault.
func (o *owner) decided(effects []queue.Effect, err error) {
	if err != nil {
		o.bad = err
	}
	o.perform(effects)
}

func (o *owner) perform(effects []queue.Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case queue.Start:
			o.start(ulid.ULID(e.ID), e.Attempt)
		case queue.Drop:
			if job, ok := o.state.Job(ulid.ULID(e.ID)); ok {
				o.end(job, ipc.Canceled)
			}
		case queue.Finish:
			if job, ok := o.state.Job(ulid.ULID(e.ID)); ok {
				o.end(job, ipc.Succeeded)
			}
		}
	}
}

// start journals a start; the child exists once that is durable.
func (o *owner) start(id ulid.ULID, attempt int) {
	j, _ := o.state.Job(id)
	o.record(store.Record{Op: store.OpStart, ID: id, At: time.Now().UnixNano(), Attempt: int32(attempt)}, level(j.Dispatcher.Name), true, func(err error) {
		switch {
		case !o.open(id): // withdrawn
		case err != nil:
			if _, err := o.state.Revert(store.Record{Op: store.OpRequeue, ID: id}); err != nil {
				o.bad = err
			}
			o.decided(o.core.Busy(o.now(), queue.ID(id), queue.Reason{Kind: queue.NoJournal}))
		default:
			o.hear(func() { o.w.jobs[id].running = true })
			o.decided(o.core.Started(o.now(), queue.ID(id)))
		}
	})
}

// open reports whether a job is known and has not ended.
func (o *owner) open(id ulid.ULID) bool {
	j, known := o.state.Job(id)
	return known && !j.State().State.Final()
}

// end records a final state, and a client that waits, or asks later, is told:
// not before the journal has said that it is durable.
func (o *owner) end(j *jobs.Job, s ipc.State) {
	waits := j.ID()[15]%2 == 0
	before := j.State().State
	o.record(store.Record{Op: store.OpEnd, ID: j.ID(), State: s, At: time.Now().UnixNano(), Run: &store.Outcome{EndedAt: time.Now().UnixNano()}}, level(j.Dispatcher.Name), waits, nil)
	if j.Told().State != before {
		o.bad = fmt.Errorf("job %s: told %s at once", j.ID(), s)
	}
	j.Gate().OnDurable(func() {
		if j.Told().State != s {
			o.bad = fmt.Errorf("job %s: told %s, and %s is durable", j.ID(), j.Told().State, s)
		}
		o.hear(func() { o.w.jobs[j.ID()].told = s }) // with a whole journal, if not before
	})
	o.state.Prune(time.Since(o.epoch))
}

// finish ends one of the running children.
func (o *owner) finish(pick int) {
	var running []ulid.ULID
	o.hear(func() {
		for id, f := range o.w.jobs {
			if f.running {
				running = append(running, id)
			}
		}
	})
	if len(running) == 0 {
		return
	}
	slices.SortFunc(running, ulid.ULID.Compare)
	id := running[pick%len(running)]
	o.hear(func() { o.w.jobs[id].running = false })
	o.decided(o.core.Ended(o.now(), queue.ID(id), false))
}

func (o *owner) pause(name string, on bool) {
	rec := store.Record{Op: store.OpResume, Dispatcher: name}
	if on {
		rec.Op = store.OpPause
	}
	o.record(rec, mode.Disk, true, nil)
	o.perform(o.core.Pause(o.now(), name, on))
}

// compact asks for a rewrite, as a journal that has grown does.
func (o *owner) compact() {
	if !o.broken {
		o.j.Rewrite(o.state.Snapshot().WithoutVolatile(), func(error) {})
	}
}
