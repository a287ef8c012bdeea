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

// noLocks starts supervisors without the job's locks: they are free as soon as the
// daemon has closed its own copies.
func noLocks() patch {
	return patch{"daemon/internal/run/starter.go", "locks := q.Locks.files()\n", "locks := q.Locks.files()[:0]\n"}
}

// plants are the faults. SIGKILL loses nothing that was written, synced or not:
// "answer before sync" is planted as "answer before write".
func plants() []plant {
	return []plant{
		{"answer before the record is written", []string{"lost", "key"}, false, []patch{
			slowJournal(),
			{"daemon/notify.go", "\t\t\ta.notified.Started = !v.Joined && accepted.Told().State != ipc.Queued\n\t\t\treply(a)\n\t\t\treturn\n\t\t}\n\t\treply(answer{err: s.unavailable(err)})\n", "\t\t\treturn\n\t\t}\n"},
			{"daemon/notify.go", "\taccepted, a.notified.Job = job, s.view(job)\n", "\taccepted, a.notified.Job = job, s.view(job)\n\t_ = accepted\n\treply(a)\n"},
		}},
		{"a lock is released as soon as the job has started", []string{"lock"}, true, []patch{noLocks()}},
		{"a start forgets every fifth queued job", []string{"open"}, false, []patch{
			{"daemon/recover.go", "\t\t\tqueued++\n", "\t\t\tif queued++; queued%5 == 0 {\n\t\t\t\tcontinue\n\t\t\t}\n"},
		}},
		{"the queue forgets who holds a lock", []string{"lock"}, true, []patch{
			noLocks(),
			{"daemon/internal/run/runner.go", "\tev.Started(a, c)\n", "\tev.Started(a, c)\n\ta.locks.Release()\n"},
			{"daemon/internal/queue/locks.go", "\t\tk.granted[l.Name] = k.granted[l.Name].with(j, l.Shared)\n", "\t\t_ = l\n"},
		}},
		{"a snapshot leaves a queued job out", []string{"lost"}, false, []patch{
			{"daemon/internal/jobs/snapshot.go", "Open: slices.Collect(s.openStates()), Ended", "Open: slices.DeleteFunc(slices.Collect(s.openStates()), func(j *store.Job) bool { return j.Seq%8 == 7 }), Ended"},
		}},
		{"a snapshot leaves the keys out", []string{"key"}, false, []patch{
			{"daemon/internal/jobs/snapshot.go", "\t\tsnap.Keys[k] = store.Keyed{", "\t\t_, _ = k, store.Keyed{"},
		}},
		{"orphans are left alone", []string{"overlap", "lock"}, false, []patch{
			{"daemon/internal/shim/client.go", "\t\tproc.RemainsOf(start).End(", "\t\tproc.RemainsOf(proc.StartRecord{NeverKill: start.Child != nil}).End("},
		}},
		{"what must not run twice runs again", []string{"twice"}, false, []patch{
			{"daemon/attempt.go", "rerun := r.Spec.OnInterrupt == mode.Rerun && !r.Canceled()", "rerun := r.Spec.OnInterrupt != mode.OnInterrupt(\"\") && !r.Canceled()"},
		}},
		{"the child starts before its start is written", []string{"attempts", "twice"}, false, []patch{
			slowJournal(),
			{"daemon/perform.go", "\trecorded := make(chan error, 1)\n", "\trecorded := make(chan error, 1)\n\trecorded <- nil\n"},
			{"daemon/perform.go", "func(err error) { recorded <- err }", "func(error) {}"},
		}},
		{"a run's files that are gone read as none yet", []string{"attempts", "twice"}, false, []patch{
			slowJournal(),
			{"daemon/internal/proc/files.go", "\treturn unix.Stat(f.Prepared(), &st) == nil && errors.Is(", "\treturn errors.Is("},
			{"daemon/attempt.go", "\ta.job.Gate().OnDurable(func() { go remove() })\n", "\tgo remove()\n"},
		}},
		{"an end is told before it is written", []string{"told"}, false, []patch{
			slowJournal(),
			{"daemon/internal/jobs/apply.go", "\t\tj.told = before\n", "\t\t_ = before\n"},
		}},
		{"a start restores the queue backwards", []string{"order"}, false, []patch{
			{"daemon/recover.go", "for job := range s.jobs.Open() {", "for _, job := range slices.Backward(slices.Collect(s.jobs.Open())) {"},
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
