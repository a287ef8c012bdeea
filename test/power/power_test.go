//go:build linux

package power

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// figures are what a run of cuts showed.
type figures struct {
	cuts, told, ends, begun int
	torn                    int // starts that found an unfinished last write
	pending                 int // cuts with writes that were not flushed
}

// hold holds the locks of all dispatchers, so that a daemon starts nothing: what
// it found can be looked at in peace.
func hold(b *box) (func(), error) {
	var files []*os.File
	release := func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	dir := b.path("run/dispatchers")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return release, err
	}
	for name := range definitions() {
		f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return release, err
		}
		files = append(files, f)
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return release, err
		}
	}
	return release, nil
}

// try cuts the power at a place, starts the daemon on what is left, and says
// what is wrong with it.
func (r *recording) try(t *testing.T, image, program string, c cut, lane uint64, sum *figures) (found []string) {
	t.Helper()
	if err := os.WriteFile(image, c.apply(r.base, r.record, random(lane)), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBox(t, definitions())
	defer func() { _ = os.RemoveAll(b.dir) }()
	mount(t, image, b.path("state"))
	defer unmount(t, b.path("state"))
	release, err := hold(b)
	defer release()
	if err != nil {
		t.Fatal(err)
	}
	defer b.kill()
	l := b.start(program)
	if err := l.up(); err != nil {
		return []string{"the store does not open: " + err.Error()}
	}
	if strings.Contains(l.log(), "DAMAGED") {
		found = append(found, "a power cut is called damage: "+l.log())
	}
	if strings.Contains(l.log(), "unfinished last write") {
		sum.torn++
	}
	sum.cuts++
	return append(found, r.judge(b, c, sum)...)
}

// judge holds what the daemon knows against what the world was told by then.
func (r *recording) judge(b *box, c cut, sum *figures) (found []string) {
	jobs := b.jobs()
	for i, a := range r.facts.list {
		if a.accepted > c.at {
			continue
		}
		sum.told++
		job, known := jobs[a.id]
		ended := a.ended > 0 && a.ended <= c.at
		begun := r.facts.seen[a.id] > 0 && r.facts.seen[a.id] <= c.at
		switch {
		case !known:
			found = append(found, fmt.Sprintf("job %s of %s was accepted at %d and is lost", a.id, a.name, a.accepted))
			continue
		case string(job.Arguments) != a.args || job.Dispatcher != a.name:
			found = append(found, fmt.Sprintf("job %s: %s %.80s is not what was asked for", a.id, job.Dispatcher, job.Arguments))
		case ended && job.State != a.state:
			found = append(found, fmt.Sprintf("job %s: its end was told as %s, it is %s", a.id, a.state, job.State))
		case begun && !job.State.Final():
			found = append(found, fmt.Sprintf("job %s: its child was there, it is %s", a.id, job.State))
		}
		if ended {
			sum.ends++
		}
		if begun {
			sum.begun++
		}
		if i%50 == 0 {
			found = append(found, again(b, a)...)
		}
	}
	return found
}

// again asks once more with the key of a job: it must be that job.
func again(b *box, a *fact) []string {
	n, err := b.notify(b.t.Context(), a.name, a.args, a.key)
	if err != nil || n.ID != a.id {
		return []string{fmt.Sprintf("key %s is job %s, asked again it is %q: %v", a.key, a.id, n.ID, err)}
	}
	return nil
}

// lose cuts the power of a daemon's life at many places, until enough was found.
func lose(t *testing.T, program string, lane uint64, cuts, enough int) (sum figures, bad int) {
	t.Helper()
	rng := random(lane)
	r := recordLife(t, program, lane, 6)
	for _, text := range r.facts.bad {
		t.Error(text)
	}
	flushes := 0
	for _, e := range r.record {
		if e.data == nil {
			flushes++
		}
	}
	t.Logf("seed %d: %d jobs, %d writes, %d flushes", opt.seed, len(r.facts.list), len(r.record)-flushes, flushes)
	if len(r.facts.list) < 100 || len(r.facts.seen) < 10 {
		t.Fatalf("too little was asked for: %d jobs, %d children", len(r.facts.list), len(r.facts.seen))
	}
	image := filepath.Join(memory(t), "after")
	for i := range cuts {
		c := cut{at: rng.IntN(len(r.record) + 1), mode: i % modes}
		if i%2 == 0 { // right when somebody was told something: the worst moment
			c.at = r.facts.list[rng.IntN(len(r.facts.list))].lastWord()
		}
		if c.at > 0 && r.record[c.at-1].data != nil {
			sum.pending++
		}
		found := r.try(t, image, program, c, lane+uint64(i)<<16, &sum)
		if len(found) == 0 {
			continue
		}
		if bad++; bad >= enough {
			t.Logf("cut %d at %d, mode %d: %d findings, the first: %s", i, c.at, c.mode, len(found), found[0])
			break
		}
	}
	return sum, bad
}

// Whatever of the unsynced writes is on the disk when the power comes back: the
// store opens, and all that anybody was told is true.
func TestLostPower(t *testing.T) {
	sum, bad := lose(t, stock(), 1, opt.cuts, 1)
	if bad > 0 {
		t.Errorf("seed %d: a promise is broken", opt.seed)
	}
	t.Logf("%d power cuts, %d with writes that were not flushed, %d torn journals; %d times a job had been accepted, %d times its end told, %d times its child seen",
		sum.cuts, sum.pending, sum.torn, sum.told, sum.ends, sum.begun)
}

// The control: the same test on a daemon that answers without a sync must find
// that it loses jobs.
func TestLostPowerControl(t *testing.T) {
	const cuts = 12
	if _, bad := lose(t, unsynced(t), 2, cuts, cuts/2); bad < cuts/2 {
		t.Errorf("a daemon that syncs nothing was found out by %d of %d cuts", bad, cuts)
	}
}
