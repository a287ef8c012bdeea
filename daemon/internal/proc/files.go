package proc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// AttemptFiles name the files of one attempt in the run directory, by what they have
// in common. They tell a later daemon how far the attempt got:
//
//	.fifo    made before the shim is; its reader sees the end of the shim as EOF
//	.run     made before the job is started, by who starts it
//	.status  how the job ended, by rename
//
// A status means done; .run without one means that the end is not known;
// neither means that the job never started. They belong to one boot.
type AttemptFiles string

func (m AttemptFiles) fifo() string   { return string(m) + ".fifo" }
func (m AttemptFiles) run() string    { return string(m) + ".run" }
func (m AttemptFiles) status() string { return string(m) + ".status" }

// Args is the file of the attempt's arguments.
func (m AttemptFiles) Args() string { return string(m) + ".args" }

// Notify is the path of the attempt's notify socket.
func (m AttemptFiles) Notify() string { return string(m) + ".notify" }

// RemoveOwn is Remove for a child of our own that has ended: with args where it
// had arguments. Its other files were never there, or are gone.
func (m AttemptFiles) RemoveOwn(args bool) {
	_ = unix.Unlink(m.run())
	if args {
		_ = unix.Unlink(m.Args())
	}
}

// Remove removes the files. The end must be durable elsewhere by then.
func (m AttemptFiles) Remove() {
	for _, path := range []string{m.fifo(), m.run(), m.status(), m.status() + ".new", m.Args(), m.Notify()} {
		_ = unix.Unlink(path) // os.Remove would try each missing one twice
	}
}

// mark is a line of .run.
type mark struct {
	Shim  *Identity `json:"shim,omitempty"`
	Child *Identity `json:"child,omitempty"`
	Crowd string    `json:"crowd,omitempty"`
	Spare bool      `json:"spare,omitempty"` // kill_mode none: not even to clean up
}

// begin makes .run, and fails where somebody has made it before: an attempt is
// started once.
func (m AttemptFiles) begin(first mark) (fd int, err error) {
	fd, err = open(m.run(), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_APPEND)
	if err != nil || first == (mark{}) {
		return fd, err
	}
	if err := note(fd, first); err != nil {
		_ = unix.Close(fd)
		_ = os.Remove(m.run())
		return -1, err
	}
	return fd, nil
}

// Started reports whether the attempt was started.
func (m AttemptFiles) Started() bool { _, ok := m.began(); return ok }

// StartMarked starts a child of our own, with the marks by which a later daemon
// finds what is left of it. After an error the kit is still the caller's.
func StartMarked(k *Prepared, onUpdate func(Update)) (*Process, error) {
	marks := k.launch.Files
	run, err := marks.begin(mark{})
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	defer func() { _ = unix.Close(run) }()
	p, err := k.start(onUpdate)
	if err != nil {
		marks.Remove()
		return nil, err
	}
	child := p.Identity()
	_ = note(run, mark{Child: &child}) // without it the child is found by its environment
	return p, nil
}

// note adds a line to .run.
func note(run int, line mark) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	for {
		_, err = unix.Write(run, append(text, '\n'))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// began reads .run; false where the attempt was never started.
func (m AttemptFiles) began() (mark, bool) {
	var all mark
	f, err := os.Open(m.run())
	if err != nil {
		return all, false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		_ = json.Unmarshal(lines.Bytes(), &all) // a later line adds to the first
	}
	return all, true
}

// outcome is an Exit in .status.
type outcome struct {
	Code     int             `json:"code"`
	Signal   string          `json:"signal,omitempty"`
	TimedOut bool            `json:"timed_out,omitempty"`
	Canceled bool            `json:"canceled,omitempty"`
	Err      string          `json:"error,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Failure  json.RawMessage `json:"failure,omitempty"`
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended"`
	Progress *ipc.Progress   `json:"progress,omitempty"`
}

// statusRoom is what is reserved for a status before the job starts, so that
// its end can be written when the run directory is full.
const statusRoom = 4096

// reserve makes the file that will become .status.
func (m AttemptFiles) reserve() (*os.File, error) {
	f, err := os.OpenFile(m.status()+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt([]byte(strings.Repeat(" ", statusRoom)), 0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// finish writes the end into the reserved file and puts it in place. A large
// result or failure that does not fit on a full disk is left out: the end is
// worth more.
func (m AttemptFiles) finish(f *os.File, e Exit) error {
	o := outcome{e.Code, e.Signal, e.TimedOut, e.Canceled, "", e.Result, e.Failure, e.Started, e.Ended, e.Progress}
	if e.Err != nil {
		o.Err = e.Err.Error()
	}
	err := fill(f, o)
	if err != nil && len(o.Result)+len(o.Failure) > 0 {
		o.Result, o.Failure = nil, nil
		err = fill(f, o)
	}
	return errors.Join(err, f.Close(), os.Rename(m.status()+".new", m.status()))
}

// fill makes a file hold a value.
func fill(f *os.File, o outcome) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}

// ended reads .status.
func (m AttemptFiles) ended() (Exit, bool) {
	var o outcome
	text, err := os.ReadFile(m.status())
	if err != nil || json.Unmarshal(text, &o) != nil {
		return Exit{}, false
	}
	e := Exit{
		Code: o.Code, Signal: o.Signal, TimedOut: o.TimedOut, Canceled: o.Canceled,
		Result: o.Result, Failure: o.Failure, Started: o.Started, Ended: o.Ended, Progress: o.Progress,
	}
	if o.Err != "" {
		e.Err = errors.New(o.Err)
	}
	return e, true
}

// KillRemaining kills what is left of an attempt whose watcher is gone: the child,
// its session, its cgroup, and what carries its job's id in its environment.
func (m AttemptFiles) KillRemaining(job string) {
	began, ok := m.began()
	if ok && began.Spare {
		return
	}
	if ok {
		killCgroup(began.Crowd)
		if c := began.Child; c != nil && c.PID > 1 && c.Boot == bootID() {
			c.Signal(syscall.SIGKILL)
			killSession(*c)
		}
	}
	for _, pid := range FindByEnv("DISPATCHD_JOB_ID", job) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
