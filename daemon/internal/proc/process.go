package proc

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
)

// Process is a child of this process under supervision: a Child and the
// goroutines that wait for it. One reads its progress pipe, one its notify
// socket, one each pipe that it prints to, one waits for its death, and one,
// supervise, does what is due. They and the callers share the Child under mu; what
// it prints belongs to the goroutines that read it.
type Process struct {
	onUpdate func(Update)
	identity Identity
	progress *os.File
	notify   *os.File      // nil = it has no notify socket
	wake     chan struct{} // has supervise look at the child again
	detach   chan struct{} // closed to hand the child over
	detached chan struct{} // closed when nobody here watches it any more
	done     chan struct{}
	exit     Exit           // set before done is closed
	reading  sync.WaitGroup // of progress
	copying  sync.WaitGroup // of output

	mu    sync.Mutex
	child *Child
}

// newProcess takes over the watch of a child.
func newProcess(c *Child, onUpdate func(Update)) *Process {
	p := &Process{
		onUpdate: onUpdate, identity: c.identity, child: c, progress: os.NewFile(uintptr(c.progress), "progress"),
		wake: make(chan struct{}, 1), detach: make(chan struct{}), detached: make(chan struct{}), done: make(chan struct{}),
	}
	if c.notify != nil {
		p.notify = os.NewFile(uintptr(c.notify.fd), "notify")
	}
	return p
}

// watch begins to supervise the child.
func (p *Process) watch() {
	p.reading.Go(p.readProgress)
	if p.notify != nil {
		go p.readNotify()
	}
	for _, s := range p.streams() {
		s.Watch()
	}
	p.copyOutput()
	go p.supervise()
}

// streams are the pipes that the child prints to.
func (p *Process) streams() (list []*output.Stream) {
	k := p.child.output
	if k == nil {
		return nil
	}
	for _, s := range []*output.Stream{k.Out, k.DataOut} {
		if s.Descriptor() >= 0 {
			list = append(list, s)
		}
	}
	return list
}

// copyOutput reads them, to their ends or until stopCopying.
func (p *Process) copyOutput() {
	for _, s := range p.streams() {
		p.copying.Go(s.Follow)
	}
}

// stopCopying ends the reading, for somebody else to go on with it.
func (p *Process) stopCopying() {
	if k := p.child.output; k != nil {
		k.Interrupt()
	}
	p.copying.Wait()
}

// KeepsOutput reports whether what the child prints is counted and bounded here.
func (p *Process) KeepsOutput() bool { return p.child.output != nil }

// KeepLeft goes on with the output of what the child left running, after Done: hand
// gives it to another process, and where that fails, or is nil, it is kept here.
func (p *Process) KeepLeft(hand func(*output.Keeper) error) {
	k := p.child.output
	switch {
	case k == nil:
	case !k.IsOpen(), hand != nil && hand(k) == nil:
		k.Close()
	default:
		for _, s := range p.streams() {
			s.Resume()
		}
		p.copyOutput()
		go func() {
			p.copying.Wait()
			k.Close()
		}()
	}
}

// Done is closed when the child has ended and everything about it is known.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is how the child ended. It waits for the end.
func (p *Process) Exit() Exit { <-p.done; return p.exit }

// Identity names the child for a later daemon.
func (p *Process) Identity() Identity { return p.identity }

// Stop ends the child: SIGTERM, after the grace SIGKILL. It does not wait, and a
// second one does nothing.
func (p *Process) Stop() error {
	return p.tell(func(c *Child, now time.Time) error { c.Stop(now); return nil })
}

// Kill ends the child at once.
func (p *Process) Kill() {
	_ = p.tell(func(c *Child, now time.Time) error { c.Kill(now); return nil })
}

// Signal sends a signal to the processes that the kill_mode names.
// os.ErrProcessDone: the child has ended.
func (p *Process) Signal(s syscall.Signal) error {
	return p.tell(func(c *Child, _ time.Time) error { return c.Signal(s) })
}

// Extend gives the child this much time from now on, where it has a timeout.
// os.ErrProcessDone: the child has ended.
func (p *Process) Extend(more time.Duration) error {
	return p.tell(func(c *Child, now time.Time) error { return c.Extend(now, more) })
}

// Leave does nothing: a child of the daemon's own does not go on without it.
// Detach hands it to the next image of the program.
func (p *Process) Leave() {}

// tell tells the child something, and has supervise do what follows.
func (p *Process) tell(fn func(*Child, time.Time) error) error {
	p.mu.Lock()
	err := fn(p.child, time.Now())
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default: // it is awake, and has not looked yet
	}
	return err
}

// supervise does what is due for the child, until it has ended or is handed over.
func (p *Process) supervise() {
	dead := make(chan struct{})
	go waitExit(p.identity.PID, dead)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	detach := p.detach
	for {
		next, done := p.advance()
		if done {
			p.finish()
			return
		}
		if timer.Stop(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-p.wake:
		case <-dead:
			dead = nil
			p.mu.Lock()
			p.child.Died(time.Now())
			p.mu.Unlock()
		case <-detach:
			detach = nil
			if p.isRunning() {
				close(p.detached)
				return
			}
		}
	}
}

// isRunning reports whether nothing is being done to the child.
func (p *Process) isRunning() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child.phase == running
}

// advance does what is due, and passes on what the child says.
func (p *Process) advance() (next time.Time, done bool) {
	for {
		p.mu.Lock()
		now := time.Now()
		next, done = p.child.Advance(now)
		u, told := p.child.Update(now)
		p.mu.Unlock()
		if !told {
			return next, done
		}
		p.onUpdate(u)
	}
}

// finish closes done. What only the child's life needed is given back after that:
// nobody waits for it.
func (p *Process) finish() {
	// A reader that waits holds the file's read lock: end its wait first.
	_ = p.progress.SetReadDeadline(time.Now())
	p.reading.Wait()
	p.stopCopying()
	p.mu.Lock()
	// A fork under way has a copy of the pipe's other end until its exec: it would
	// seem to be somebody that the child left running.
	syscall.ForkLock.RLock()
	p.exit = p.child.Finish()
	syscall.ForkLock.RUnlock()
	u, told := p.child.Update(time.Now())
	p.mu.Unlock()
	if told {
		p.onUpdate(u)
	}
	close(p.done)
	_ = p.progress.Close()
	if p.notify != nil {
		_ = p.notify.Close()
		_ = os.Remove(p.child.notify.path)
	}
}

// readProgress reads descriptor 3 until its end, or until finish or Detach ends
// its wait.
func (p *Process) readProgress() {
	buf := make([]byte, 1024) // one for each job: most say little
	for {
		n, err := p.progress.Read(buf)
		if n > 0 {
			_ = p.tell(func(c *Child, _ time.Time) error { c.report.feed(buf[:n]); return nil })
		}
		if err != nil {
			return
		}
	}
}

// readNotify reads datagrams until the socket is closed.
func (p *Process) readNotify() {
	buf := make([]byte, maxDatagram)
	for {
		n, err := p.notify.Read(buf)
		if err != nil {
			return
		}
		_ = p.tell(func(c *Child, now time.Time) error { c.heard(now, buf[:n]); return nil })
	}
}

// ExitDescriptor gives a descriptor that poll(2) finds readable when a child is
// dead, and that is the caller's to close. Where the kernel has none, a goroutine
// waits, and closes the other end of a pipe.
func ExitDescriptor(pid int) (int, error) {
	if fd := (host{}).exitDescriptor(pid); fd >= 0 {
		return fd, nil
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("pipe2", err)
	}
	go func() {
		host{}.waitDead(pid)
		_ = unix.Close(pipe[1])
	}()
	return pipe[0], nil
}

// waitExit closes dead when a child is dead. Where the kernel gives a descriptor
// for the child, no thread is blocked meanwhile.
func waitExit(pid int, dead chan<- struct{}) {
	defer close(dead)
	fd := host{}.exitDescriptor(pid)
	if fd < 0 {
		host{}.waitDead(pid)
		return
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = f.Close() }()
	conn, err := f.SyscallConn()
	if err != nil || conn.Read(func(uintptr) bool { return host{}.isDead(pid) }) != nil {
		host{}.waitDead(pid)
	}
}

// ReapChild waits for a child of this process to end, and takes its status.
func ReapChild(pid int) {
	waitExit(pid, make(chan struct{}))
	_, _ = reap(pid)
}
