package durable

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
)

// Journal is what Log needs of store.Journal. It answers on a goroutine of its
// own, never from within a call, and in the order of what it was given, except
// that a record which needs no sync does not wait for one that does.
type Journal interface {
	Append(rec store.Record, d mode.Durability, urgent bool, done func(error))
	Rewrite(s store.Snapshot, done func(error))
	Hurry()
	CompactDue() bool
	SetOnFail(fn func(error))
	SetOnFull(fn func(error))
	Close() error
}

// Owner is what Log needs of whoever owns it and the state.
type Owner struct {
	Log  *slog.Logger
	Post func(func()) // runs fn on the owner's goroutine, in order; never blocks

	Snapshot func() store.Snapshot // the state, for a whole journal
	Broken   func(error)           // the journal broke: nothing may start until it works
	Works    func()                // jobs are accepted and started again
}

// repairEvery is how often a broken journal is written anew. A disk that was
// full or gone answers at once, so trying costs little; half a second is what
// clients wait at most once it is back.
const repairEvery = 500 * time.Millisecond

// Log gives records to the journal, opens gates as it answers, and repairs it.
type Log struct {
	journal   Journal
	owner     Owner
	err       error   // why nothing is accepted, nil = it is
	repairing bool    // the journal is broken; full is not broken
	failed    []*Gate // passed by records that only the next whole journal will hold
	repair    *time.Timer

	mu      sync.Mutex
	answers []func() // of the journal, not yet drained
}

// New makes the log of an open journal. If that is broken already, Broken is
// called by the first answer that the owner drains.
func New(j Journal, o Owner) *Log {
	l := &Log{journal: j, owner: o}
	j.SetOnFail(func(err error) { l.answer(func() { l.broke(err) }) })
	j.SetOnFull(func(err error) { l.answer(func() { l.full(err) }) })
	return l
}

// Err is why nothing that could be lost is accepted now, nil = all is well.
func (l *Log) Err() error { return l.err }

// Broken reports that nothing can be written, not even what space was set aside
// for: a journal that is full is not broken.
func (l *Log) Broken() bool { return l.repairing }

// Write gives the journal a record that was applied to the state. The gates are
// Writing until it answers; then (nil = nobody) is called with the answer to
// this record, after the gates heard it.
func (l *Log) Write(rec store.Record, d mode.Durability, urgent bool, then func(error), gates ...*Gate) {
	for _, g := range gates {
		g.Begin()
	}
	l.journal.Append(rec, d, urgent, func(err error) {
		l.answer(func() { l.written(err, then, gates) })
	})
}

// written takes the answer for one record.
func (l *Log) written(err error, then func(error), gates []*Gate) {
	if err != nil {
		l.failed = append(l.failed, gates...)
	}
	for _, g := range gates {
		g.End(err)
	}
	if then != nil {
		then(err)
	}
}

// Settled is Gate.Settled for somebody who waits: the disk is told to hurry.
func (l *Log) Settled(g *Gate, fn func(error)) {
	if g.Phase() == Writing {
		l.journal.Hurry()
	}
	g.Settled(fn)
}

// Compact has the journal written anew when it has grown enough for that.
func (l *Log) Compact() {
	if l.err != nil || !l.journal.CompactDue() {
		return
	}
	l.save("journal: compaction")
}

// save writes a whole journal while the present one works: nothing depends on
// that but what has Failed.
func (l *Log) save(what string) {
	l.rewrite(l.snapshot(), func(err error) {
		if err != nil {
			l.owner.Log.Warn(what, "error", err)
		}
	})
}

// snapshot is the state without the jobs that are kept in memory alone: their
// ends would not be written, so they would run again.
func (l *Log) snapshot() store.Snapshot { return l.owner.Snapshot().WithoutVolatile() }

// SaveAll writes a whole journal with the jobs that are otherwise kept in memory
// alone, for the next image of the program. It calls done on the owner's
// goroutine.
func (l *Log) SaveAll(done func(error)) { l.rewrite(l.owner.Snapshot(), done) }

// rewrite has a snapshot written. Whatever has failed by the time of a good
// answer is in it: the journal answers for what was appended before a rewrite
// first, and keeps what comes later for the new file.
func (l *Log) rewrite(s store.Snapshot, done func(error)) {
	l.journal.Rewrite(s, func(err error) {
		l.answer(func() {
			if err == nil {
				l.saved()
			}
			done(err)
		})
	})
}

// saved opens the gates that wait for a whole journal.
func (l *Log) saved() {
	list := l.failed
	l.failed = nil
	for _, g := range list {
		g.Saved()
	}
}

// broke is told once when a write or sync has failed: that file is never
// written again (a second fsync may claim success for pages that are lost).
func (l *Log) broke(err error) {
	l.owner.Log.Error("journal: cannot be written; nothing is accepted until it can", "error", err)
	l.err, l.repairing = err, true
	l.owner.Broken(err)
	l.repairLater()
}

// full is told when the disk has no space for new jobs, and with nil when it has
// again. Accepted jobs start and end meanwhile: their space was set aside.
func (l *Log) full(err error) {
	switch {
	case err != nil:
		l.owner.Log.Error("journal: no space; nothing is accepted until there is", "error", err)
		l.err = err
	case !l.repairing: // else there is space, and the journal still has to be written
		l.owner.Log.Info("journal: there is space again; jobs are accepted again")
		l.works()
		// Such as a pause, which was refused and is in the state; a job that was
		// refused is not.
		l.failed = slices.DeleteFunc(l.failed, func(g *Gate) bool { return g.Phase() == Durable })
		if len(l.failed) > 0 {
			l.save("journal: what a full disk refused")
		}
	}
}

// works resumes acceptance and starts.
func (l *Log) works() {
	l.err, l.repairing = nil, false
	l.owner.Works()
}

// repairLater has a whole journal written in a while. By then every acceptance
// that failed has been withdrawn from the state, so it is not in the snapshot.
func (l *Log) repairLater() {
	l.repair = time.AfterFunc(repairEvery, func() {
		l.answer(func() { l.rewrite(l.snapshot(), l.repaired) })
	})
}

// repaired resumes acceptance, or tries again.
func (l *Log) repaired(err error) {
	if err != nil {
		l.err = err
		l.repairLater()
		return
	}
	l.owner.Log.Info("journal: written anew; jobs are accepted again")
	l.works()
}

// answer queues what the journal says, from any goroutine.
func (l *Log) answer(fn func()) {
	l.mu.Lock()
	first := len(l.answers) == 0
	l.answers = append(l.answers, fn)
	l.mu.Unlock()
	if first { // else the owner was told already
		l.owner.Post(l.drain)
	}
}

// drain runs the answers that have come, on the owner's goroutine.
func (l *Log) drain() {
	l.mu.Lock()
	list := l.answers
	l.answers = nil
	l.mu.Unlock()
	for _, fn := range list {
		fn()
	}
}

// Close closes the journal, and runs its last answers itself: the owner needs
// not drain them. Before that it tries once more to write what a broken journal
// could not take. The owner's state says what is still not durable after it.
func (l *Log) Close() error {
	l.drain()
	if l.repair != nil {
		l.repair.Stop()
	}
	if l.err != nil {
		saved := make(chan error, 1)
		l.journal.Rewrite(l.snapshot(), func(err error) { saved <- err })
		if <-saved == nil {
			l.drain() // answers to what was appended before the rewrite come first
			l.saved()
		}
	}
	err := l.journal.Close()
	l.drain()
	return err
}
