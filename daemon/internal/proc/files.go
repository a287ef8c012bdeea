package proc

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// AttemptFiles are the files of one attempt in the run directory: a prefix that
// their paths have in common, and no directory. They tell a later daemon how far
// the attempt got:
//
//	.sock    made before the supervisor is, which answers there; EOF is its end
//	.fifo    the same of the release before
//	.run     made before the job is started, exclusively, by the one that starts it
//	.status  how the job ended, by rename; only a supervisor writes it
//
// A .status means that the job has ended; .run without one, that its end is not
// known; neither, that it never started. They belong to one boot, and are removed
// when the end is durable elsewhere.
type AttemptFiles string

// Socket is where a supervisor answers.
func (f AttemptFiles) Socket() string { return string(f) + ".sock" }

// Fifo is the pipe by which a supervisor of the release before is heard.
func (f AttemptFiles) Fifo() string { return string(f) + ".fifo" }

// Run is the record of the attempt's start.
func (f AttemptFiles) Run() string { return string(f) + ".run" }

// Status is the record of the attempt's end.
func (f AttemptFiles) Status() string { return string(f) + ".status" }

// NewStatus is what becomes Status by rename. It is made before the job starts, so
// that a full run directory cannot keep the end from being written.
func (f AttemptFiles) NewStatus() string { return string(f) + ".status.new" }

// Args is the file of the attempt's arguments.
func (f AttemptFiles) Args() string { return string(f) + ".args" }

// Notify is the path of the attempt's notify socket.
func (f AttemptFiles) Notify() string { return string(f) + ".notify" }

// RemoveOwn is Remove for a child of the daemon's own that has ended: with args
// where it had arguments. Its other files were never there, or are gone.
func (f AttemptFiles) RemoveOwn(args bool) {
	_ = unix.Unlink(f.Run())
	if args {
		_ = unix.Unlink(f.Args())
	}
}

// Remove removes the files. The end must be durable elsewhere by then.
func (f AttemptFiles) Remove() {
	f.RemoveSupervisor()
	_ = unix.Unlink(f.Args())
}

// RemoveSupervisor removes the files but the arguments, for a supervisor that has
// started nothing and is followed by another one.
func (f AttemptFiles) RemoveSupervisor() {
	for _, path := range []string{f.Socket(), f.Fifo(), f.Run(), f.Status(), f.NewStatus(), f.Notify()} {
		_ = unix.Unlink(path) // os.Remove would try each missing one twice
	}
}

// StartRecord is what .run says. Each line of it adds to those before.
type StartRecord struct {
	Supervisor *Identity `json:"shim,omitempty"`
	Child      *Identity `json:"child,omitempty"`
	Tree       string    `json:"crowd,omitempty"` // Child.TreePath
	NeverKill  bool      `json:"spare,omitempty"` // kill_mode none: not even to clean up
}

// Create makes .run with a first line, and fails where there is one already: an
// attempt is started once. Whoever made it starts the job.
func (f AttemptFiles) Create(first StartRecord) (fd int, err error) {
	fd, err = open(f.Run(), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_APPEND)
	if err != nil || first == (StartRecord{}) {
		return fd, err
	}
	if err := Append(fd, first); err != nil {
		_ = unix.Close(fd)
		_ = os.Remove(f.Run())
		return -1, err
	}
	return fd, nil
}

// Append adds a line to .run.
func Append(run int, line StartRecord) error {
	text := append(line.appendJSON(nil), '\n')
	for {
		_, err := unix.Write(run, text)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Started reports whether the attempt was started.
func (f AttemptFiles) Started() bool { _, ok := f.ReadStart(); return ok }

// ReadStart reads .run; false where the attempt was never started. A line that
// was cut by a full disk or a crash says nothing.
func (f AttemptFiles) ReadStart() (StartRecord, bool) {
	var all StartRecord
	file, err := os.Open(f.Run())
	if err != nil {
		return all, false
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		_ = json.Unmarshal(lines.Bytes(), &all)
	}
	return all, true
}

// KillRemaining kills what is left of an attempt whose supervisor, or daemon, is
// gone: the child, its session, its tree, and what carries its job's id in its
// environment.
func (f AttemptFiles) KillRemaining(job string) {
	start, ok := f.ReadStart()
	if ok && start.NeverKill {
		return
	}
	if ok {
		host{}.killTree(start.Tree)
		if c := start.Child; c != nil && c.PID > 1 && c.Boot == BootID() {
			c.Signal(syscall.SIGKILL)
			host{}.killSid(*c)
		}
	}
	for _, pid := range (host{}).findByEnv("DISPATCHD_JOB_ID", job) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
