package shim

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// backlog is how many connections may wait for a supervisor that is busy.
const backlog = 16

// Start starts a supervisor for a launch. argv is its program's; the dispatcher's
// name and the job's id are added, for people who look at processes. The supervisor
// holds the locks from its first moment on: the caller closes its own. onUpdate gets
// what the job says of itself, on a goroutine of its own.
//
// With keep the supervisor stays when the job has ended, for a next job: whoever asks
// for that calls Spare after Done. One whose job needs a tree does not.
func Start(argv []string, l proc.Launch, locks []*os.File, keep bool, onUpdate func(proc.Update)) (*Client, error) {
	text, err := record(&l, len(locks))
	if err != nil {
		return nil, err
	}
	b, err := newBirth(l.Files)
	if err != nil {
		return nil, runDirectory(err)
	}
	file := programAt(argv[0]) // before it is executed: what is replaced in between is seen as changed
	c := newClient(l.Files, l.Job, onUpdate)
	c.keep, c.marked = keep && !l.NeedsTree(), l.Marked
	fd, err := dial(l.Files.Socket())
	if err == nil {
		if c.pid, err = b.fork(argv, l, locks); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		b.close()
		l.Files.RemoveSupervisor()
		return nil, proc.Own(fmt.Errorf("shim: %w", err))
	}
	k := newLink(fd, c)
	k.program = file
	// It is greeted before it can start anything: one that has ended its job, and knows
	// of nobody, goes. A supervisor that dies over it has started nothing, and read finds
	// that out.
	_ = k.greet()
	b.give(text)
	go k.read()
	return c, nil
}

// runDirectory says where an error comes from, and that it is not the job's.
func runDirectory(err error) error { return proc.Own(fmt.Errorf("run directory: %w", err)) }

// birth is what a supervisor is given for an attempt, beside the locks.
type birth struct {
	launch   int // the read end of the launch's pipe
	to       int // its other end, which is ours
	listener int
}

// newBirth makes the files by which the supervisor of an attempt is spoken to. The
// FIFO is for a daemon of version 1.
func newBirth(f proc.AttemptFiles) (b *birth, err error) {
	if err := unix.Mkfifo(f.Fifo(), 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: f.Fifo(), Err: err}
	}
	b = &birth{launch: -1, to: -1, listener: -1}
	if b.listener, err = listen(f.Socket()); err != nil {
		f.RemoveSupervisor()
		return nil, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		b.close()
		f.RemoveSupervisor()
		return nil, os.NewSyscallError("pipe2", err)
	}
	b.launch, b.to = pipe[0], pipe[1]
	return b, nil
}

// listen makes the socket of an attempt, for our own user alone.
func listen(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// Whoever may write to it may connect: our umask lets nobody but us, and the mode
	// says so.
	err = withAddress(path, func(a *unix.SockaddrUnix) error { return unix.Bind(fd, a) })
	if err == nil {
		err = unix.Chmod(path, 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, &os.PathError{Op: "listen", Path: path, Err: err}
	}
	return fd, nil
}

// fork starts the supervisor's process. What it complains of goes to the job's
// output, where there is one already.
func (b *birth) fork(argv []string, l proc.Launch, locks []*os.File) (pid int, err error) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	}
	defer func() { _ = unix.Close(null) }()
	stderr := null
	if out, err := unix.Open(l.OutputFile, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0); err == nil {
		stderr = out
		defer func() { _ = unix.Close(out) }()
	}
	files := []uintptr{uintptr(null), uintptr(null), uintptr(stderr), uintptr(b.launch), uintptr(b.listener)}
	for _, f := range locks {
		files = append(files, f.Fd())
	}
	title := append([]string{Name}, argv[1:]...)
	pid, err = proc.ForkExec(argv[0], append(title, l.Dispatcher, l.Job), &syscall.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1", "PATH=/usr/bin:/bin", Env + "=" + l.Job}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, &os.PathError{Op: "fork/exec", Path: argv[0], Err: err}
	}
	return pid, nil
}

// record is the record of a launch, which a supervisor must be able to read.
func record(l *proc.Launch, locks int) ([]byte, error) {
	text := appendRecord(make([]byte, 0, 4096), l, locks)
	if len(text) > maxLaunch {
		return nil, errTooLong
	}
	return text, nil
}

// give closes the supervisor's ends and writes the launch. It may have to wait until
// the supervisor reads.
func (b *birth) give(text []byte) {
	_ = unix.Close(b.launch)
	_ = unix.Close(b.listener)
	for len(text) > 0 {
		n, err := unix.Write(b.to, text)
		if err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
		text = text[max(0, n):]
	}
	_ = unix.Close(b.to)
}

// close gives back what nobody got.
func (b *birth) close() {
	for _, fd := range []int{b.launch, b.to, b.listener} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
