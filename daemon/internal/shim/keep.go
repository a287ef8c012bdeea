package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
)

// A job ends when its main process does. While what it left running still has its
// output, a keeper goes on reading: the supervisor's program, in a process of its
// own, that holds no lock, knows no daemon, and leaves when the last writer has. So
// neither a restart of the daemon, nor an upgrade, nor the supervisor's next job ends
// what a job left running by SIGPIPE.
//
// It is nobody's child: the process that is started for it starts it, and goes. A
// daemon that was replaced in place would not know whom to wait for.
//
// What it is to do comes on descriptor 3, as a supervisor's launch does. On 4 it says
// that it has it. The pipes and files come after them.
const (
	keepHead = "dispatchd keep 1\n"   // starts a keeper, and goes
	keepTail = "dispatchd keeper 1\n" // is one
	readyFD  = 4
	keptFD   = 5
)

// keeperTitle is the last word of a keeper's command line, behind the dispatcher and
// the job.
const keeperTitle = "output"

// readyWait bounds how long a keeper may take until it says that it has everything.
const readyWait = 10 * time.Second

// errNoKeeper says that a keeper was started and did not take over.
var errNoKeeper = errors.New("no process could be started to keep the output")

// Keep starts a keeper, and waits until it has everything: then it is the caller's to
// close what it has itself. program is the argv of the supervisor's program.
func Keep(program []string, dispatcher, job string, k *output.Keeper) error {
	title := append([]string{Name}, program[1:]...)
	return keepBy(program[0], append(title, dispatcher, job, keeperTitle), keepHead, k)
}

// keepBy starts a process that is called so, for the work that head names, and waits
// until it has everything, and, where it is to go then, is gone.
func keepBy(program string, title []string, head string, k *output.Keeper) error {
	pid, err := startKeeper(program, title, head, k)
	if head == keepHead && pid != 0 {
		proc.ReapChild(pid)
	}
	return err
}

// startKeeper starts a process that has descriptors as a keeper does, and waits for
// its word.
func startKeeper(program string, title []string, head string, k *output.Keeper) (pid int, err error) {
	h, kept := k.Hand(func(place, _ int) int { return keptFD + place })
	text, err := json.Marshal(h)
	if err != nil {
		return 0, err
	}
	var launch, ready [2]int
	if err := unix.Pipe2(launch[:], unix.O_CLOEXEC); err != nil {
		return 0, os.NewSyscallError("pipe2", err)
	}
	if err := unix.Pipe2(ready[:], unix.O_CLOEXEC); err != nil {
		closeBoth(launch)
		return 0, os.NewSyscallError("pipe2", err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		files := []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(launch[0]), uintptr(ready[1])}
		for _, fd := range kept {
			files = append(files, uintptr(fd))
		}
		pid, err = proc.ForkExec(program, title, &syscall.ProcAttr{
			Dir: "/", Env: []string{"GOMAXPROCS=1", Env + "=keeper"}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		_ = unix.Close(null)
	}
	_, _ = unix.Close(launch[0]), unix.Close(ready[1])
	if err == nil { // the record is far shorter than a pipe
		_, err = unix.Write(launch[1], append([]byte(head), text...))
	}
	_ = unix.Close(launch[1])
	if err == nil {
		err = awaitReady(ready[0])
	}
	_ = unix.Close(ready[0])
	return pid, err
}

// awaitReady waits for a keeper's word.
func awaitReady(fd int) error {
	for until := time.Now().Add(readyWait); ; {
		n, err := unix.Poll([]unix.PollFd{waitFor(fd)}, millis(until))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		var word [1]byte
		if n > 0 {
			n, _ = unix.Read(fd, word[:])
		}
		if n != 1 {
			return errNoKeeper
		}
		return nil
	}
}

// closeBoth closes a pipe.
func closeBoth(pipe [2]int) { _, _ = unix.Close(pipe[0]), unix.Close(pipe[1]) }

// isKeep reports whether what a process of this program was started with makes it a
// keeper, or one that starts it.
func isKeep(text []byte) bool {
	return bytes.HasPrefix(text, []byte(keepHead)) || bytes.HasPrefix(text, []byte(keepTail))
}

// keep is the whole life of a keeper, and gives its exit code. Signals but SIGKILL do
// not end it: at a shutdown everybody is told to end, and who still writes must be
// able to.
func keep(text []byte) int {
	proc.SetName(Name) // it may have been executed by another
	head, rest, _ := bytes.Cut(text, []byte{'\n'})
	var h output.Handed
	if json.Unmarshal(rest, &h) != nil {
		return 1
	}
	k := output.Take(h)
	starts := string(head)+"\n" == keepHead
	if starts && keepBy(OwnProgram(), os.Args, keepTail, k) != nil {
		starts = false // it has to be one itself
	}
	_, _ = unix.Write(readyFD, []byte{'+'})
	_ = unix.Close(readyFD)
	if !starts {
		k.Run()
	}
	return 0
}

// passOutput gives the output of what the attempt left running to a process of its
// own, so that this one can go, or serve the next. Where none can be started, this
// one stays for it, and serves nothing else.
func (s *supervisor) passOutput() {
	c := s.attempt.child
	if c == nil || c.Output() == nil {
		return
	}
	if k := c.Output(); !k.IsOpen() || handOver(k) == nil {
		k.Close()
	} else {
		s.kept = k
	}
}

// handOver starts a keeper of our own program, which may have been replaced on disk.
func handOver(k *output.Keeper) error {
	return keepBy(OwnProgram(), append(append([]string(nil), os.Args...), keeperTitle), keepHead, k)
}
