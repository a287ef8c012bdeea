//go:build linux && power

package power

import (
	"fmt"
	"math/rand/v2"
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
	bad                     int // cuts after which something is wrong
	late                    int // cuts when a job had been accepted
	lost                    int // of them: one is not known any more
	jobs, compactions       int // of the lives
}

// hold holds the locks of all dispatchers, so that a daemon starts nothing: what
// it found can be looked at in peace.
func hold(b *stateBox) (func(), error) {
	var files []*os.File
	release := func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	dir := b.Path("run/dispatchers")
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
	defer func() { _ = os.RemoveAll(b.Dir) }()
	if err := mount(image, b.Path("state")); err != nil {
		return []string{"the file system does not come back: " + err.Error()}
	}
	defer unmount(t, b.Path("state"))
	release, err := hold(b)
	defer release()
	if err != nil {
		t.Fatal(err)
	}
	defer b.kill()
	l := b.start(program)
	if err := l.Up(); err != nil {
		return []string{"the store does not open: " + err.Error()}
	}
	if strings.Contains(l.Err.String(), "DAMAGED") {
		found = append(found, "a power cut is called damage: "+l.Err.String())
	}
	if strings.Contains(l.Err.String(), "unfinished last write") {
		sum.torn++
	}
	sum.cuts++
	return append(found, r.judge(b, c, sum)...)
}

// judge holds what the daemon knows against what the world was told by then.
func (r *recording) judge(b *stateBox, c cut, sum *figures) (found []string) {
	var last []*fact // of those that were asked for
	jobs, lost := b.jobs(), 0
	for _, a := range r.facts.list {
		if a.accepted > c.at {
			continue
		}
		sum.told++
		job, known := jobs[a.id]
		ended := a.ended > 0 && a.ended <= c.at
		begun := r.facts.seen[a.id] > 0 && r.facts.seen[a.id] <= c.at
		switch {
		case !known:
			lost++
			last = append(last, a)
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
		last = append(last, a)
	}
	for _, a := range last[max(0, len(last)-5):] {
		found = append(found, again(b, a)...)
	}
	if len(last) > 0 {
		sum.late++
	}
	if lost > 0 {
		sum.lost++
	}
	return found
}

// again asks once more with the key of a job: it must be that job.
func again(b *stateBox, a *fact) []string {
	n, err := b.notify(b.T.Context(), a.name, a.args, a.key)
	if err != nil || n.ID != a.id {
		return []string{fmt.Sprintf("key %s is job %s, asked again it is %q: %v", a.key, a.id, n.ID, err)}
	}
	return nil
}

// lose cuts the power of a daemon's life at many places, and shows the first
// findings.
func lose(t *testing.T, program string, lane uint64, rounds, cuts int, sum *figures) {
	t.Helper()
	r := recordLife(t, program, lane, rounds)
	for _, text := range r.facts.bad {
		t.Error(text)
	}
	if len(r.facts.list) < 100 || len(r.facts.seen) < 10 {
		t.Fatalf("too little was asked for: %d jobs, %d children", len(r.facts.list), len(r.facts.seen))
	}
	sum.jobs += len(r.facts.list)
	sum.compactions += r.compactions
	rng, image, shown := random(lane), filepath.Join(memory(t), "after"), 0
	for i := range cuts {
		c := r.choose(i, rng)
		if c.at > 0 && r.record[c.at-1].data != nil {
			sum.pending++
		}
		found := r.try(t, image, program, c, lane<<32+uint64(i), sum)
		if len(found) == 0 {
			continue
		}
		sum.bad++
		if shown++; shown <= 3 {
			t.Logf("seed %d, life %d, cut %d at %d of %d, mode %d: %d findings, the first: %s", opt.seed, lane, i, c.at, len(r.record), c.mode, len(found), found[0])
		}
	}
}

// choose says where to cut: anywhere, or right when somebody was told something,
// which is the worst moment.
func (r *recording) choose(i int, rng *rand.Rand) cut {
	at := rng.IntN(len(r.record) + 1)
	if i%2 == 0 {
		at = r.facts.list[rng.IntN(len(r.facts.list))].lastWord()
	}
	return cut{at: at, mode: i / 2 % modes}
}

// cutsPerLife is how often the power of one life is cut: not so often that it
// is always the same records.
const cutsPerLife = 100

// Whatever of the unsynced writes is on the disk when the power comes back: the
// store opens, and all that anybody was told is true.
func TestLostPower(t *testing.T) {
	var sum figures
	lives := (opt.cuts + cutsPerLife - 1) / cutsPerLife
	for life := range lives {
		lose(t, stock(t), uint64(10+life), 6, opt.cuts/lives, &sum)
	}
	if sum.bad > 0 {
		t.Errorf("seed %d: after %d cuts a promise is broken", opt.seed, sum.bad)
	}
	if sum.compactions < lives {
		t.Errorf("the journal was rewritten in use only %d times in %d lives", sum.compactions, lives)
	}
	t.Logf("seed %d: %d power cuts of %d lives with %d jobs, %d with writes that were not flushed, %d torn journals, %d journals rewritten in use; %d times a job had been accepted, %d times its end told, %d times its child seen",
		opt.seed, sum.cuts, lives, sum.jobs, sum.pending, sum.torn, sum.compactions, sum.told, sum.ends, sum.begun)
}

// The control: the same test on a daemon that answers without a sync must find
// that it loses jobs. It finds more, which does not count: a journal of zeros is
// rightly called damage.
func TestLostPowerControl(t *testing.T) {
	const cuts = 12
	var sum figures
	lose(t, unsynced(t), 2, 3, cuts, &sum)
	if sum.late < cuts/2 || sum.lost < sum.late/3 {
		t.Errorf("a daemon that syncs nothing loses jobs in only %d of %d cuts", sum.lost, sum.late)
	}
	t.Logf("without a sync, jobs are lost in %d of %d cuts that come after one was accepted", sum.lost, sum.late)
}
