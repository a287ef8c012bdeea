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
// What it is to do comes on descriptor 3, as a supervisor's launch does. On 4 it says
// that it has it. The pipes and files come after them.
const (
	keepHead = "dispatchd keep 1\n"
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
// close what it has itself. title is what the process is called, for people.
func Keep(program string, title []string, k *output.Keeper) (pid int, err error) {
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
		pid, err = syscall.ForkExec(program, title, &syscall.ProcAttr{
			Dir: "/", Env: []string{"GOMAXPROCS=1", Env + "=keeper"}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		_ = unix.Close(null)
	}
	_, _ = unix.Close(launch[0]), unix.Close(ready[1])
	if err == nil { // the record is far shorter than a pipe
		_, err = unix.Write(launch[1], append([]byte(keepHead), text...))
	}
	_ = unix.Close(launch[1])
	if err == nil {
		err = awaitReady(ready[0])
	}
	_ = unix.Close(ready[0])
	return pid, err
}

// KeepFor is Keep for a daemon, whose child the keeper is then: program is the argv of
// the supervisor's program.
func KeepFor(program []string, dispatcher, job string, k *output.Keeper) error {
	title := append([]string{Name}, program[1:]...)
	pid, err := Keep(program[0], append(title, dispatcher, job, keeperTitle), k)
	if pid != 0 {
		go proc.ReapChild(pid)
	}
	return err
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
// keeper.
func isKeep(text []byte) bool { return bytes.HasPrefix(text, []byte(keepHead)) }

// keep is the whole life of a keeper, and gives its exit code. Signals but SIGKILL do
// not end it: at a shutdown everybody is told to end, and who still writes must be
// able to.
func keep(text []byte) int {
	var h output.Handed
	if json.Unmarshal(text[len(keepHead):], &h) != nil {
		return 1
	}
	proc.SetName(Name) // it may have been executed by another
	k := output.Take(h)
	_, _ = unix.Write(readyFD, []byte{'+'})
	_ = unix.Close(readyFD)
	k.Run()
	return 0
}
