package proc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Remote is a job under a shim, as its daemon sees it: the one that started it,
// or a later one.
type Remote struct {
	marks    AttemptFiles
	job      string
	fifo     *os.File
	child    *os.Process // the shim, where we started it
	onUpdate func(Update)
	done     chan struct{}
	exit     Exit

	mu   sync.Mutex
	stop bool   // wanted
	left bool   // nobody wants to know
	said string // why the shim started nothing
}

// StartShim starts a shim for a launch. argv is the program's; the name of the
// dispatcher and the job's id are added, for people who look at processes. The
// shim holds the locks from now on: the caller closes its own.
func StartShim(argv []string, l Launch, locks []*os.File, onUpdate func(Update)) (*Remote, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	r := &Remote{marks: l.Files, job: l.Job, onUpdate: onUpdate, done: make(chan struct{})}
	if err := unix.Mkfifo(l.Files.Fifo(), 0o600); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if err := r.fork(argv, l, text, locks); err != nil {
		l.Files.Remove()
		return nil, fmt.Errorf("shim: %w", err)
	}
	go r.follow()
	return r, nil
}

// fork starts the shim's process and hands it the launch.
func (r *Remote) fork(argv []string, l Launch, text []byte, locks []*os.File) (err error) {
	// The reader comes first: a writer alone cannot open without waiting.
	if r.fifo, err = os.OpenFile(l.Files.Fifo(), os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = r.fifo.Close()
		}
	}()
	w, err := os.OpenFile(l.Files.Fifo(), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	in, launch, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = launch.Close() }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		_ = in.Close()
		return err
	}
	defer func() { _ = null.Close() }()
	complaints := null
	if out, oerr := os.OpenFile(l.OutputFile, os.O_WRONLY|os.O_APPEND, 0); oerr == nil {
		complaints = out
		defer func() { _ = out.Close() }()
	}
	files := append([]*os.File{null, null, complaints, in, w}, locks...)
	r.child, err = os.StartProcess(argv[0], append(argv[:len(argv):len(argv)], l.Dispatcher, l.Job), &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1", "PATH=/usr/bin:/bin", ShimEnv + "=" + l.Job}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	_ = in.Close()
	if err != nil {
		return err
	}
	// One that dies over it has started nothing, and follow finds that out.
	_, _ = launch.Write(append(text, '\n'))
	return nil
}

// Adopt takes over an attempt that an earlier daemon of this boot started under
// a shim, whether it still runs, has ended, or never began. False: there was no
// shim.
func Adopt(m AttemptFiles, job string, onUpdate func(Update)) (*Remote, bool) {
	f, err := os.OpenFile(m.Fifo(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	r := &Remote{marks: m, job: job, fifo: f, onUpdate: onUpdate, done: make(chan struct{})}
	if began, ok := m.ReadStart(); ok && began.Supervisor != nil {
		began.Supervisor.Signal(unix.SIGUSR1)
	}
	go r.follow()
	return r, true
}

// Done is closed when the shim is gone and everything about its job is known.
func (r *Remote) Done() <-chan struct{} { return r.done }

// Exit is how the job ended. It waits for the end.
func (r *Remote) Exit() Exit { <-r.done; return r.exit }

// Stop has the job ended as its kill_mode says. It does not wait.
func (r *Remote) Stop() error {
	r.mu.Lock()
	r.stop = true
	r.mu.Unlock()
	r.tell()
	return nil
}

// Leave ends the following of a job that goes on without us: a daemon stops.
// Done is never closed then.
func (r *Remote) Leave() {
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	_ = r.fifo.Close()
}

// PID is the shim's process, 0 where an earlier daemon started it.
func (r *Remote) PID() int {
	if r.child == nil {
		return 0
	}
	return r.child.Pid
}

// tell passes a wanted stop on, as soon as there is somebody to hear it.
func (r *Remote) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stop {
		return
	}
	// Before .run exists the shim may not listen yet; its first line follows.
	began, ok := r.marks.ReadStart()
	if ok && began.Supervisor != nil {
		began.Supervisor.Signal(unix.SIGTERM)
	}
}

// follow reads what the shim says, to its end, and finds out how that was.
func (r *Remote) follow() {
	lines := bufio.NewReader(r.fifo)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		r.hear(line)
	}
	_ = r.fifo.Close()
	r.mu.Lock()
	left := r.left
	r.mu.Unlock()
	if left {
		return
	}
	r.bury()
	r.exit = r.find()
	close(r.done)
}

// hear takes one line of the shim.
func (r *Remote) hear(line []byte) {
	var h hint
	if json.Unmarshal(line, &h) != nil {
		return
	}
	if h.Error != "" {
		r.said = h.Error
	}
	r.tell()
	if h.Percent != nil || h.Message != "" || h.Late {
		r.onUpdate(Update{Percent: h.Percent, Message: h.Message, Late: h.Late})
	}
}

// bury waits until the shim's process is gone, and with it its hold on the
// locks: its pipe closes a moment earlier.
func (r *Remote) bury() {
	if r.child != nil {
		_, _ = r.child.Wait()
		return
	}
	began, ok := r.marks.ReadStart()
	if !ok || began.Supervisor == nil {
		return
	}
	tick := time.NewTicker(killPoll)
	defer tick.Stop()
	for began.Supervisor.Alive() {
		<-tick.C
	}
	// After an upgrade in place the shims of before are still our children.
	_, _ = unix.Wait4(began.Supervisor.PID, nil, unix.WNOHANG, nil)
}

// find says how the attempt ended, by its marks.
func (r *Remote) find() Exit {
	if e, ok := r.marks.readOutcome(); ok {
		return e
	}
	now := time.Now()
	e := Exit{Started: now, Ended: now}
	if began, ok := r.marks.ReadStart(); ok {
		r.marks.KillRemaining(r.job)
		if began.NeverKill && began.Child != nil {
			began.Child.WaitExit()
		}
		e.Ended, e.SupervisorLost = time.Now(), true
		return e
	}
	e.NotStarted = true
	switch {
	case r.said != "":
		e.Err = errors.New("shim: " + r.said)
	case r.child != nil:
		e.Err = ErrSupervisorDied
	}
	return e
}
