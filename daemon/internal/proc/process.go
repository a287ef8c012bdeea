package proc

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// Process is a running child under supervision.
type Process struct {
	launch Launch
	pid    int
	self   Identity
	stop   chan struct{} // closed by Stop
	kill   chan struct{} // closed by Kill
	extend chan time.Duration
	done   chan struct{}
	exit   Exit
	all    crowd // nil = the group is enough

	onUpdate func(Update)
	rep      *reporter
	progress *os.File
	notify   *notifySocket
	left     time.Duration // of the timeout, when supervision began or ended here; 0 = none
	detach   chan struct{} // closed to hand the child over
	detached chan struct{} // closed when nobody here watches it any more
	once     sync.Once
	killed   sync.Once
}

// newProcess makes a process that is not there yet.
func newProcess(l Launch, onUpdate func(Update)) *Process {
	p := &Process{
		launch: l, stop: make(chan struct{}), kill: make(chan struct{}), extend: make(chan time.Duration, 1),
		done: make(chan struct{}), detach: make(chan struct{}), detached: make(chan struct{}), onUpdate: onUpdate,
	}
	p.rep = newReporter(onUpdate, p.extend)
	return p
}

// watch begins to supervise the child.
func (p *Process) watch() {
	go p.rep.readPipe(p.progress)
	go p.notify.read(p.rep)
	go p.supervise()
}

// fork starts the child, in a crowd where one is wanted.
func (p *Process) fork(files []int, env []string) (err error) {
	l, argv := &p.launch, p.launch.argv()
	if !l.SelfSupervised || !l.tracked() {
		p.pid, err = syscall.ForkExec(argv[0], argv, l.attributes(files, env))
		return err
	}
	for _, all := range newCrowds(filepath.Base(string(l.Files)), l.NoCgroup) {
		a := l.attributes(files, env)
		all.join(a)
		if p.pid, err = syscall.ForkExec(argv[0], argv, a); err == nil {
			p.all = all
			return nil
		}
		all.close()
	}
	return err
}

// Done is closed when the child has ended and everything about it is known.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is how the child ended. It waits for the end.
func (p *Process) Exit() Exit { <-p.done; return p.exit }

// Identity names the child for a later daemon.
func (p *Process) Identity() Identity { return p.self }

// Stop ends the child: TERM, after the grace KILL. It does not wait.
func (p *Process) Stop() { p.once.Do(func() { close(p.stop) }) }

// Kill ends the child at once.
func (p *Process) Kill() { p.killed.Do(func() { close(p.kill) }) }

// supervise waits for the child's end and enforces it.
func (p *Process) supervise() {
	dead := make(chan struct{})
	go waitDead(p.pid, dead)
	stopped, detached := p.await(dead)
	if detached {
		close(p.detached)
		return
	}
	p.leave(stopped)
	status, err := reap(p.pid)
	if p.exit.Ended.IsZero() {
		p.exit.Ended = time.Now()
	}
	p.judge(status, err)
	p.rep.finish(p.progress)
	p.exit.Result, p.exit.Failure, p.exit.Progress = p.rep.last()
	if p.all != nil {
		p.all.close()
	}
	close(p.done)
	runtime.Gosched()
	// What only the child's life needed. Nobody waits for it.
	p.notify.close()
	_ = p.progress.Close()
}

// reap takes the status of a dead child.
func reap(pid int) (syscall.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return syscall.WaitStatus(status), err
		}
	}
}

// leave sees to what the dead child left running: nobody may be left where we
// ended it, by its kill_mode; where it ended by itself, by leftovers.
func (p *Process) leave(stopped bool) {
	switch {
	case !stopped && !p.launch.Leftovers.Tracked(), stopped && p.launch.KillMode.Targets() == mode.TargetProcess:
		return
	case p.all == nil:
		if !stopped {
			_ = unix.Kill(-p.pid, unix.SIGTERM)
		}
		p.sweep()
		return
	}
	if !stopped {
		p.exit.Ended = time.Now()
		p.all.signal(syscall.SIGTERM)
	}
	clearCrowd(p.all, p.launch.Grace, p.kill)
}

// await returns when the child is dead, stopped when that was our doing, or
// when it is handed over.
func (p *Process) await(dead <-chan struct{}) (stopped, detached bool) {
	var deadline <-chan time.Time
	var timer *time.Timer
	end := time.Now().Add(p.left)
	if p.left > 0 {
		timer = time.NewTimer(p.left)
		defer timer.Stop()
		deadline = timer.C
	}
	stop := p.stop
	for {
		select {
		case <-dead:
			return false, false
		case <-p.detach:
			if p.left > 0 {
				p.left = max(1, time.Until(end)) // 0 would be none
			}
			return false, true
		case more := <-p.extend:
			if timer != nil && !p.exit.TimedOut {
				timer.Reset(more)
				end = time.Now().Add(more)
			}
			continue
		case <-deadline:
			p.exit.TimedOut = true
			if p.launch.KillMode.Never() { // it is told, and let alone
				p.left = 0
				p.onUpdate(Update{Late: true})
				continue
			}
		case <-stop:
			if p.launch.KillMode.Never() {
				stop = nil
				continue
			}
			p.exit.Canceled = true
		case <-p.kill:
			p.exit.Canceled = true
			p.signal(syscall.SIGKILL)
			<-dead
			return true, false
		}
		p.terminate(dead)
		return true, false
	}
}

// terminate asks the child to end, and ends it after the grace.
func (p *Process) terminate(dead <-chan struct{}) {
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGCONT) // a stopped child would not hear it
	grace := time.NewTimer(p.launch.Grace)
	defer grace.Stop()
	select {
	case <-dead:
		return
	case <-grace.C:
	case <-p.kill:
	}
	p.signal(syscall.SIGKILL)
	<-dead
}

// sweepStep is how often the rest of a stopped group is looked at.
const sweepStep = 20 * time.Millisecond

// sweep gives the rest of a stopped group its grace, then kills it. The leader
// is dead and not yet waited for, so its group id cannot be anybody else's.
func (p *Process) sweep() {
	end := time.Now().Add(p.launch.Grace)
	for groupAlive(p.pid) && time.Now().Before(end) {
		select {
		case <-time.After(sweepStep):
		case <-p.kill:
			end = time.Now()
		}
	}
	_ = unix.Kill(-p.pid, unix.SIGKILL)
}

// signal sends a signal to whom the kill_mode names.
func (p *Process) signal(s syscall.Signal) {
	switch targets := p.launch.KillMode.Targets(); {
	case targets == mode.TargetTree && p.all != nil:
		p.all.signal(s)
	case targets == mode.TargetProcess: // of a None job only by Kill
		_ = unix.Kill(p.pid, s)
	default:
		_ = unix.Kill(-p.pid, s)
	}
}

// judge reads the wait status.
func (p *Process) judge(status syscall.WaitStatus, err error) {
	if err != nil {
		p.exit.Err = os.NewSyscallError("wait", err)
		return
	}
	if status.Signaled() {
		p.exit.Signal = unix.SignalName(status.Signal())
		p.exit.Code = 128 + int(status.Signal())
		return
	}
	p.exit.Code = status.ExitStatus()
}

// progressOf is the wire's form of an update.
func progressOf(u Update) *ipc.Progress {
	if u.Percent == nil && u.Message == "" {
		return nil
	}
	return &ipc.Progress{Percent: u.Percent, Message: u.Message}
}
