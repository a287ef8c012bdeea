package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

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

// owner does with book, queue and journal what the daemon's loop does.
type owner struct {
	w     *world
	book  *jobs.Book
	core  *queue.Core
	j     *store.Journal
	epoch time.Time
	bad   error // something that must not be

	mu    sync.Mutex
	posts []func()

	broken bool // the journal
	full   bool
	roomy  bool // there was space when it started
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
	o := &owner{w: w, book: jobs.NewBook(store.Retention{Count: 200}), core: queue.New(queue.Limits{}), epoch: time.Now()}
	j, report, err := store.OpenOn(d, 2*store.Page, o.book.Replay())
	if o.j = j; err != nil {
		return nil, report, err
	}
	for _, name := range []string{"one", "many", "soft", "gone"} {
		o.core.Define(o.now(), rulesOf(name))
	}
	o.j.SetOnFail(func(err error) { o.post(func() { o.failed(err) }) })
	o.j.SetOnFull(func(err error) { o.post(func() { o.full = err != nil }) })
	return o, report, nil
}

// begin brings the jobs back that the disk has.
func (o *owner) begin() {
	for _, name := range o.book.Paused() {
		o.core.Pause(o.now(), name, true)
	}
	for _, job := range o.book.Open() {
		if job.State == ipc.Running {
			o.end(job, ipc.Interrupted)
			continue
		}
		o.decided(nil, o.core.Restore(o.now(), queue.Restored{Submission: submission(job), Attempt: int(job.Attempt)}))
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

// submit is a client's notify.
func (o *owner) submit(name, args string) {
	if o.broken || o.full {
		return
	}
	id := ulid.Make()
	v, effects, wrong := o.core.Submit(o.now(), queue.Submission{ID: queue.ID(id), Dispatcher: name, Key: args})
	if o.decided(nil, wrong); wrong != nil || v.Refused != "" {
		return
	}
	at := time.Now()
	rec := store.Record{Op: store.OpJoin, ID: ulid.ULID(v.ID), At: at.UnixNano(), By: &ipc.Notifier{At: at}}
	if !v.Joined {
		rec.Op, rec.By = store.OpAccept, nil
		rec.Job = &store.Job{ID: id, Dispatcher: name, State: ipc.Queued, Arguments: []byte(args), CreatedAt: at.UnixNano(), Volatile: level(name) == mode.Memory}
		o.hear(func() { o.w.jobs[id] = &fact{name: name, args: args, level: level(name)} })
	}
	if _, err := o.book.Apply(rec); err != nil {
		o.bad = err
		return
	}
	o.j.Append(rec, level(name), true, func(err error) {
		o.hear(func() {
			f := o.w.jobs[rec.ID]
			switch {
			case err == nil && f.withdrawn:
				o.bad = fmt.Errorf("%s of %s was confirmed after its job was withdrawn", rec.Op, rec.ID)
			case err == nil:
				f.accepted = true // to join a job is to be told that there is one
			case rec.Op == store.OpAccept:
				f.refused, f.doubt = true, errors.Is(err, store.ErrInDoubt)
			}
		})
		if err != nil && rec.Op == store.OpAccept {
			o.post(func() { o.withdraw(rec.ID) })
		}
	})
	o.perform(effects)
}

func (o *owner) withdraw(id ulid.ULID) {
	o.hear(func() { o.w.jobs[id].withdrawn = true })
	effects := o.core.Withdraw(o.now(), queue.ID(id))
	o.book.Forget(id)
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
			if job, ok := o.book.Job(ulid.ULID(e.ID)); ok {
				o.end(job, ipc.Canceled)
			}
		case queue.Finish:
			if job, ok := o.book.Job(ulid.ULID(e.ID)); ok {
				o.end(job, ipc.Succeeded)
			}
		}
	}
}

// start journals a start; the child exists once that is durable.
func (o *owner) start(id ulid.ULID, attempt int) {
	rec := store.Record{Op: store.OpStart, ID: id, At: time.Now().UnixNano(), Attempt: int32(attempt)}
	job, err := o.book.Apply(rec)
	if err != nil {
		o.bad = err
		return
	}
	o.j.Append(rec, level(job.Dispatcher), true, func(err error) {
		if err != nil {
			o.post(func() { o.unstart(id) })
			return
		}
		o.hear(func() {
			f := o.w.jobs[id]
			f.starts++
			if f.refused || (f.starts > 1 && f.level == mode.Disk) {
				o.bad = fmt.Errorf("job %s: started %d times, refused %v", id, f.starts, f.refused)
			}
		})
		o.post(func() { o.started(id) })
	})
}

// open reports whether a job is known and has not ended.
func (o *owner) open(id ulid.ULID) bool {
	job, known := o.book.Job(id)
	return known && !job.State.Final()
}

// started answers the queue: the child runs.
func (o *owner) started(id ulid.ULID) {
	if !o.open(id) {
		return // withdrawn
	}
	o.hear(func() { o.w.jobs[id].running = true })
	o.decided(o.core.Started(o.now(), queue.ID(id)))
}

func (o *owner) unstart(id ulid.ULID) {
	if !o.open(id) {
		return
	}
	if _, err := o.book.Apply(store.Record{Op: store.OpRequeue, ID: id}); err != nil {
		o.bad = err
	}
	o.decided(o.core.Busy(o.now(), queue.ID(id), queue.Reason{Kind: queue.NoJournal}))
}

// end records a final state, and a client that waits, or asks later, is told.
func (o *owner) end(job *store.Job, s ipc.State) {
	rec := store.Record{Op: store.OpEnd, ID: job.ID, State: s, At: time.Now().UnixNano(), Run: &store.Outcome{EndedAt: time.Now().UnixNano()}}
	if _, err := o.book.Apply(rec); err != nil {
		o.bad = err
		return
	}
	waits := job.ID[len(job.ID)-1]%2 == 0
	o.j.Append(rec, level(job.Dispatcher), waits, func(err error) {
		if err == nil {
			o.hear(func() { o.w.jobs[job.ID].told = s })
		}
	})
	o.book.Prune(time.Now())
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
	if _, err := o.book.Apply(rec); err != nil {
		o.bad = err
	}
	o.j.Append(rec, mode.Disk, true, func(error) {})
	o.perform(o.core.Pause(o.now(), name, on))
}

// compact asks for a rewrite, as a journal that has grown does.
func (o *owner) compact() {
	if !o.broken {
		o.j.Rewrite(o.book.Snapshot(), func(error) {})
	}
}

// failed heals the journal as the daemon does.
func (o *owner) failed(err error) {
	o.broken = true
	o.core.Freeze(true)
	o.heal()
}

func (o *owner) heal() {
	time.AfterFunc(500*time.Millisecond, func() {
		o.post(func() {
			o.j.Rewrite(o.book.Snapshot(), func(err error) { o.post(func() { o.healed(err) }) })
		})
	})
}

func (o *owner) healed(err error) {
	if err != nil {
		o.heal()
		return
	}
	o.broken, o.full = false, false
	o.core.Freeze(false)
	o.perform(o.core.Tick(o.now()))
}
