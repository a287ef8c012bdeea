//go:build linux && crash

package crash

import (
	"slices"
	"testing"

	"dispatchd/test/box"
)

// patch replaces one piece of a source file.
type patch = box.Patch

// plant is a fault that the checker must find.
type plant struct {
	name     string
	promises []string // what it breaks: one of these must be found
	calm     bool     // it shows without any kill
	patches  []patch
}

// slowJournal lets what is journaled too late be late enough to be lost by a
// kill. Alone it breaks nothing.
func slowJournal() patch {
	const write = "\tout, err := w.admit(batch)\n"
	return patch{"daemon/internal/store/writer.go", write, "\t<-time.After(5 * time.Millisecond)\n" + write}
}

// slow are the patches of a daemon that is right, and shows sooner what is not:
// its journal is slow, and is rewritten all the time.
func slow() []patch {
	return []patch{slowJournal(), {"daemon/internal/store/health.go", "h.size > compactMin && h.size > 4*h.base", "h.size > h.base+1000"}}
}

// plants are the faults. SIGKILL loses nothing that was written, synced or not:
// "answer before sync" is planted as "answer before write".
func plants() []plant {
	return []plant{
		{"answer before the record is written", []string{"lost", "key"}, false, []patch{
			slowJournal(),
			{
				"daemon/notify.go",
				"\te.journal.Append(rec, e.durability(s.spec), true, func(err error) {\n\t\tif err != nil {\n\t\t\treply(answer{err: e.unavailable(err)})\n\t\t} else {\n\t\t\treply(a)\n\t\t}\n",
				"\treply(a)\n\te.journal.Append(rec, e.durability(s.spec), true, func(err error) {\n",
			},
		}},
		{"a lock is released as soon as the job has started", []string{"lock"}, true, []patch{
			{"daemon/launch.go", "\t\tlocks = append(locks, l.file)\n", "\t\t_ = l\n"},
		}},
		{"a start forgets every fifth queued job", []string{"open"}, false, []patch{
			{"daemon/recover.go", "\t\t\tqueued++\n", "\t\t\tif queued++; queued%5 == 0 {\n\t\t\t\tcontinue\n\t\t\t}\n"},
		}},
		{"the queue forgets who holds a lock", []string{"lock"}, true, []patch{
			{"daemon/launch.go", "\t\tlocks = append(locks, l.file)\n", "\t\t_ = l\n"},
			{"daemon/launch.go", "\te.post(func() { e.spawned(r, p) })\n", "\te.post(func() { e.spawned(r, p); r.release() })\n"},
			{"daemon/internal/queue/locks.go", "\t\tk.held[l.Name] = k.held[l.Name].with(j, l.Shared)\n", "\t\t_ = l\n"},
		}},
		{"a snapshot leaves a queued job out", []string{"lost"}, false, []patch{
			{"daemon/internal/jobs/snapshot.go", "Open: slices.Collect(s.openStates()), Ended", "Open: slices.DeleteFunc(slices.Collect(s.openStates()), func(j *store.Job) bool { return j.Seq%8 == 7 }), Ended"},
		}},
		{"a snapshot leaves the keys out", []string{"key"}, false, []patch{
			{"daemon/internal/jobs/snapshot.go", "\t\tsnap.Keys[k] = store.Keyed{", "\t\t_, _ = k, store.Keyed{"},
		}},
		{"orphans are left alone", []string{"overlap", "lock"}, false, []patch{
			{"daemon/recover.go", "\tmarks.KillRemaining(job.ID.String())\n", "\t_ = marks\n"},
		}},
		{"what must not run twice runs again", []string{"twice"}, false, []patch{
			{"daemon/recover.go", "if spec == nil || spec.OnInterrupt != mode.Rerun {", "if spec == nil {"},
		}},
		{"the child starts before its start is written", []string{"attempts", "twice"}, false, []patch{
			slowJournal(),
			{"daemon/perform.go", "done := func(err error) { r.recorded <- err }\n", "done := func(error) {}\n\tr.recorded <- nil\n"},
		}},
		{"a run's marks go before its end is written", []string{"attempts", "twice"}, false, []patch{
			slowJournal(),
			{"daemon/recover.go", "\tproc.SweepTrees()\n", "\tproc.SweepTrees()\n\tremoveAll(e.staleMarks())\n"},
		}},
		{"an end is told before it is written", []string{"told"}, false, []patch{
			{"daemon/perform.go", "&ending{before: before, state: state}\n\te.journal.Append(rec, e.durability(e.specOf(job.Dispatcher)), len(e.waiters[id]) > 0, func(err error) {\n", "&ending{before: before, state: state}\n\te.certain(id)\n\ttime.AfterFunc(50*time.Millisecond, func() { e.journal.Append(rec, \"disk\", true, func(err error) {\n"},
			{"daemon/perform.go", "\t\te.post(func() { e.written(id, err) })\n\t})\n", "\t\te.post(func() { e.written(id, err) })\n\t}) })\n"},
		}},
		{"a start restores the queue backwards", []string{"order"}, false, []patch{
			{"daemon/recover.go", "\t\"context\"\n", "\t\"context\"\n\t\"slices\"\n"},
			{"daemon/recover.go", "range e.book.Open() {", "range slices.Backward(e.book.Open()) {"},
		}},
	}
}

// TestPlanted plants each fault and wants it found within 400 kills.
func TestPlanted(t *testing.T) {
	const most, step = 400, 20
	for i, p := range plants() {
		if testing.Short() && i > 2 {
			break // the first ones are those that must never pass
		}
		t.Run(p.name, func(t *testing.T) {
			program := box.Variant(t, p.patches)
			for kills := 0; kills <= most; kills += step {
				r := newRound(t, program, allRules(), uint64(1000*(i+1)+kills), false)
				if p.calm {
					r.calm()
				} else {
					r.sweep(step)
				}
				if found := r.judge(); slices.ContainsFunc(found, func(f finding) bool { return slices.Contains(p.promises, f.promise) }) {
					t.Logf("found within %d kills: %d findings, the first is %s: %s", r.figures.kills+kills, len(found), found[0].promise, found[0].text)
					return
				}
			}
			t.Errorf("seed %d: not found", opt.seed)
		})
	}
}

// TestBeside runs without any kill, and takes a lock of the jobs from outside
// now and then, as flock(1) does.
func TestBeside(t *testing.T) {
	t.Parallel()
	r := newRound(t, stock(t), allRules(), 1<<20, false)
	r.calm()
	var total tally
	total.add(t, r)
	total.say(t)
	if total.kills > 0 || total.cut > 0 || total.interrupted > 0 {
		t.Errorf("not calm: %+v", total.figures)
	}
}
