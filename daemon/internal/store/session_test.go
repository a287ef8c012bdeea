package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/test/box"
)

// session is a daemon's life, and its next ones after power cuts and restarts.
type session struct {
	pick   func(n int) int // a number below n
	rand   *rand.Rand      // for what a disk does
	w      *world
	d      *store.MemDisk
	o      *owner
	cuts   int
	cutIn  int // disk calls until the power goes, 0 = it stays
	next   *store.MemDisk
	faults int // disk calls that may fail yet
	oneIn  int // of them fails
	faulty bool
	lies   bool
}

// asked counts the disk's calls: it may fail one, or cut the power.
func (s *session) asked(op string) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.off {
		return nil
	}
	if s.cutIn > 0 {
		if s.cutIn--; s.cutIn == 0 {
			s.next = s.d.Cut(s.rand)
			s.w.off = true
			return nil
		}
	}
	if s.faults > 0 && op != "read" { // pages that cannot be read are damage, and have their own test
		s.faults--
		if s.rand.IntN(s.oneIn) == 0 {
			return []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS}[s.rand.IntN(3)]
		}
	}
	return nil
}

// start opens the disk. It must open, whatever happened to it.
func (s *session) start() error {
	s.d.Asked = s.asked
	s.w.mu.Lock()
	for _, f := range s.w.jobs {
		f.running = false // the power took the children
	}
	s.w.mu.Unlock()
	o, report, err := newOwner(s.w, s.d)
	if err != nil && s.faulty { // the daemon says why and ends; the next one comes when the disk is well
		s.quiet()
		o, report, err = newOwner(s.w, s.d)
	}
	if err != nil {
		return fmt.Errorf("the store does not open: %w", err)
	}
	s.o = o
	o.roomy = !s.d.Full
	if report.Damaged {
		return fmt.Errorf("called damaged: %v", report.Lost)
	}
	// Before anything runs: what was in doubt is known only now, and may start.
	if err := s.verify(); err != nil {
		return err
	}
	o.begin()
	return nil
}

// locked does something to what the journal's writer looks at, too.
func (s *session) locked(fn func()) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	fn()
}

// quiet ends the faults.
func (s *session) quiet() { s.locked(func() { s.faults = 0 }) }

// verify holds the store against the world, right after it was opened.
func (s *session) verify() error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for id, f := range s.w.jobs {
		job, known := find(s.o.state, id)
		switch {
		case known && string(job.Arguments) != f.args:
			return fmt.Errorf("job %s: arguments %s, asked for were %s", id, job.Arguments, f.args)
		case known && f.refused && !f.doubt:
			return fmt.Errorf("job %s was refused for certain and is there", id)
		case known && f.doubt: // its write failed half way, and it got there all the same
			f.refused, f.doubt, f.withdrawn = false, false, false
		case f.level != mode.Disk:
		case f.accepted && !known:
			return fmt.Errorf("job %s was accepted and is lost", id)
		case f.starts > 0 && job.State == ipc.Queued:
			return fmt.Errorf("job %s has run and is queued", id)
		case f.told != "" && job.State != f.told:
			return fmt.Errorf("job %s: %s, its client was told %s", id, job.State, f.told)
		}
	}
	for j := range s.o.state.Open() {
		id := j.ID()
		switch f := s.w.jobs[id]; {
		case f == nil:
			return fmt.Errorf("job %s was never asked for", id)
		case f.level == mode.Memory:
			return fmt.Errorf("job %s was in memory only and came back", id)
		}
	}
	return nil
}

// reboot goes on with what a power cut left.
func (s *session) reboot() error {
	s.d.Mu.Lock()
	s.d.Dead = true
	s.d.Mu.Unlock()
	s.o.settle()
	_ = s.o.j.Close()
	s.locked(func() {
		s.w.off, s.cutIn = false, 0
		s.d, s.next = s.next, nil
		s.cuts++
	})
	return s.start()
}

// step does one thing, and the power may go while it is done.
func (s *session) step() error {
	names := []string{"one", "many", "soft", "gone"}
	switch s.pick(15) {
	case 0, 1, 2, 3, 4:
		for range 1 + s.pick(6) {
			args := fmt.Sprintf(`{"n":%d}`, s.pick(5))
			if s.pick(8) == 0 {
				args = fmt.Sprintf(`{"long":"%0*d"}`, 1+s.pick(20_000), 1)
			}
			s.o.submit(names[s.pick(4)], args)
		}
	case 5, 6:
		for range 1 + s.pick(4) {
			s.o.finish(s.pick(100))
		}
	case 7:
		if open := slices.Collect(s.o.state.Open()); len(open) > 0 {
			s.o.decided(s.o.core.Cancel(s.o.now(), queue.ID(open[s.pick(len(open))].ID())))
		}
	case 8:
		s.o.pause(names[s.pick(4)], s.pick(2) == 0)
	case 9:
		s.o.compact()
		s.o.submit(names[s.pick(4)], `{"n":9}`)
	case 10:
		pass(time.Duration(s.pick(700)) * time.Millisecond)
		s.o.perform(s.o.core.Tick(s.o.now()))
	case 11:
		n := 1 + s.pick(12)
		s.locked(func() { s.cutIn = n })
	case 12:
		if s.faulty {
			faults, oneIn := s.pick(30), 2+s.pick(8)
			s.locked(func() { s.faults, s.oneIn = faults, oneIn })
		}
	case 13:
		s.fill(s.pick(2) == 0)
	case 14:
		if s.pick(4) == 0 {
			s.o.settle()
			return s.restart()
		}
	}
	if s.pick(3) > 0 { // else what comes next may share a batch with it
		s.o.settle()
	}
	return s.after()
}

// fill makes the disk full, or gives it space again.
func (s *session) fill(full bool) {
	s.d.Mu.Lock()
	defer s.d.Mu.Unlock()
	s.d.Full = full
}

// restart stops the daemon in order and starts the next.
func (s *session) restart() error {
	err := s.o.log.Close()
	s.o.settle()
	var next *store.MemDisk
	s.locked(func() { next = s.next })
	if next != nil {
		return s.reboot()
	}
	if err != nil && !s.faulty && !s.o.broken {
		return err
	}
	return s.start()
}

// after looks at what must hold at all times.
func (s *session) after() error {
	s.w.mu.Lock()
	next := s.next
	s.w.mu.Unlock()
	if next != nil {
		return s.reboot()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.o.broken && s.o.roomy && !s.faulty {
		return errors.New("a full disk broke the journal: starts and ends have their space")
	}
	return s.o.bad
}

// drain ends the faults and all jobs: each accepted one has one final state,
// and so says the store when it is opened once more.
func (s *session) drain() error {
	s.w.mu.Lock()
	s.faults, s.cutIn = 0, 0
	s.w.mu.Unlock()
	s.fill(false)
	for _, name := range []string{"one", "many", "soft", "gone"} {
		s.o.pause(name, false)
	}
	for range 20 {
		s.o.settle()
		pass(100 * time.Millisecond)
	}
	s.o.settle()
	if err := s.o.log.Err(); err != nil {
		return fmt.Errorf("the journal was not repaired within 2 s: %w", err)
	}
	for range 200 {
		s.o.finish(0)
		pass(time.Second)
		s.o.perform(s.o.core.Tick(s.o.now())) // what was busy is tried again
		s.o.settle()
		if s.o.state.OpenCount() == 0 {
			break
		}
	}
	if n := s.o.state.OpenCount(); n > 0 {
		return fmt.Errorf("%d jobs never end", n)
	}
	if err := s.o.log.Close(); err != nil {
		return err
	}
	if n := s.o.state.Undurable(); n > 0 {
		return fmt.Errorf("%d ends are nowhere but in memory after a close in order", n)
	}
	last := s.o.state
	if err := s.start(); err != nil {
		return err
	}
	for _, j := range last.List(ipc.JobFilter{Limit: 1000}) {
		again, ok := s.o.state.Job(j.ID())
		if level(j.Dispatcher.Name) != mode.Memory && (!ok || again.State().State != j.State().State) {
			return fmt.Errorf("job %s: ended as %s, reopened as %+v", j.ID(), j.State().State, again)
		}
	}
	return nil
}

// run is a whole session in a bubble of its own time.
func (s *session) run(t *testing.T, steps int) (err error) {
	synctest.Test(t, func(*testing.T) {
		s.w = &world{jobs: map[ulid.ULID]*fact{}}
		s.d = store.NewMemDisk()
		s.d.Lies = s.lies
		if err = s.start(); err == nil {
			for i := 0; i < steps && err == nil; i++ {
				err = s.step()
			}
			if err == nil {
				s.o.settle()
				err = s.after()
			}
			if err == nil {
				err = s.drain()
			}
		}
		if s.o != nil {
			_ = s.o.j.Close()
		}
	})
	return err
}

// seeded is a session whose choices follow from a number.
func seeded(seed uint64, faulty bool) *session {
	r := rand.New(rand.NewPCG(seed, 1))
	return &session{pick: r.IntN, rand: rand.New(rand.NewPCG(seed, 2)), faulty: faulty}
}

// No power cut loses what was answered, none makes a job run twice, and none
// is taken for damage.
func TestPowerCuts(t *testing.T) {
	cuts := 0
	for seed := range uint64(box.Sample(300)) {
		s := seeded(seed, false)
		if err := s.run(t, 60); err != nil {
			t.Fatalf("seed %d, after %d cuts: %v", seed, s.cuts, err)
		}
		cuts += s.cuts
	}
	t.Logf("%d power cuts", cuts)
	if cuts < box.Sample(300) {
		t.Errorf("only %d power cuts", cuts)
	}
}

// The control: the same test finds a disk whose syncs do nothing.
func TestPowerCutsControl(t *testing.T) {
	lost := 0
	for seed := range uint64(30) {
		s := seeded(seed, false)
		s.lies = true
		if s.run(t, 60) != nil {
			lost++
		}
	}
	if lost < 25 {
		t.Errorf("a disk that syncs nothing was found in %d of 30 sessions", lost)
	}
}

// Failing calls and power cuts together: nothing answered is lost, and the
// journal heals by itself.
func TestFailingDisk(t *testing.T) {
	for seed := range uint64(box.Sample(400)) {
		if err := seeded(seed, true).run(t, 60); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// Queue and store together against the world, with choices that shrink.
func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "disk")
		s := &session{rand: rand.New(rand.NewPCG(seed, 3)), faulty: rapid.Bool().Draw(rt, "faulty")}
		s.pick = func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "pick") }
		steps := rapid.IntRange(1, 60).Draw(rt, "steps")
		if err := s.run(t, steps); err != nil {
			rt.Fatal(err)
		}
	})
}
