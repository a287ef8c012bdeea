package proc

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// AttemptFiles are the files of one attempt in the run directory: a prefix that
// their paths have in common, and no directory. They tell a later daemon how far
// the attempt got:
//
//	.prepared  made before the start is journaled, gone once it is started
//	.sock      made before the supervisor is, which answers there; EOF is its end
//	.fifo      the same of the release before
//	.run       made before the job is started, exclusively, by the one that starts it
//	.status    how the job ended, by rename; only a supervisor writes it
//
// A .status means that the job has ended. Else .prepared without .run means that it
// never started. Anything else, above all that there is nothing, means that its end
// is not known: cleaners and people delete files, and what was deleted must never
// read as "not started yet", or the job runs twice. They belong to one boot, and are
// removed when the end is durable elsewhere.
type AttemptFiles string

// Prepared says that the attempt has not started. It is as long as reserved, and
// becomes NewStatus.
func (f AttemptFiles) Prepared() string { return string(f) + ".prepared" }

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
	_ = unix.Unlink(f.Prepared())
	if args {
		_ = unix.Unlink(f.Args())
	}
}

// Remove removes the files. The end must be durable elsewhere by then.
func (f AttemptFiles) Remove() {
	f.RemoveSupervisor()
	_ = unix.Unlink(f.Prepared())
	_ = unix.Unlink(f.Args())
}

// Room is what is reserved for the record of the attempt's end before the job starts,
// so that its end can be written when the run directory is full.
const Room = 4096

// Reserve makes a file that takes so much, and is written by WriteAt. Where there is no
// room for it there is no file afterwards.
func Reserve(path string) (fd int, err error) {
	fd, err = open(path, unix.O_CREAT|unix.O_TRUNC|unix.O_WRONLY)
	if err != nil {
		return -1, err
	}
	if err := WriteAt(fd, []byte(strings.Repeat(" ", Room))); err != nil {
		_ = unix.Close(fd)
		_ = unix.Unlink(path)
		return -1, &os.PathError{Op: "write", Path: path, Err: err}
	}
	return fd, nil
}

// Prepare makes .prepared, and the directory where that is gone. Where there is no
// room for it there is none for the attempt.
func (f AttemptFiles) Prepare() error {
	fd, err := Reserve(f.Prepared())
	if errors.Is(err, unix.ENOENT) {
		if err = f.MakeDirectory(); err == nil {
			fd, err = Reserve(f.Prepared())
		}
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

// Unstart has the files say that the attempt has not started, as they did before it was
// tried. Until its owner has journaled that, a daemon that finds nothing would take it
// for one that ran. Where there is no room for a new .prepared, what was made of it
// becomes it again.
func (f AttemptFiles) Unstart() {
	if f.Prepare() == nil || unix.Rename(f.NewStatus(), f.Prepared()) == nil || unix.Rename(f.Status(), f.Prepared()) == nil {
		f.RemoveSupervisor()
	}
	_ = unix.Unlink(f.Args())
}

// directoryMode is that of the directory of attempts: nobody else may list it, and a
// job of another user reaches its arguments and its socket there.
const directoryMode = 0o711

// MakeDirectory makes the directory of attempts, or has it be as it would be made.
func MakeDirectory(path string) error {
	if err := os.MkdirAll(path, directoryMode); err != nil {
		return err
	}
	return unix.Chmod(path, directoryMode)
}

// MakeDirectory makes the directory of the files, where it is gone.
func (f AttemptFiles) MakeDirectory() error { return MakeDirectory(filepath.Dir(string(f))) }

// NeverStarted reports whether the attempt is known not to have been started.
func (f AttemptFiles) NeverStarted() bool {
	var st unix.Stat_t
	return unix.Stat(f.Prepared(), &st) == nil && errors.Is(unix.Stat(f.Run(), &st), unix.ENOENT)
}

// WriteAt writes a text to the beginning of a file.
func WriteAt(fd int, text []byte) error {
	for at := 0; at < len(text); {
		n, err := unix.Pwrite(fd, text[at:], int64(at))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		default:
			at += n
		}
	}
	return nil
}

// RemoveSupervisor removes the files but the arguments and .prepared, for a supervisor
// that has started nothing and is followed by another one.
func (f AttemptFiles) RemoveSupervisor() {
	for _, path := range []string{f.Run(), f.Socket(), f.Fifo(), f.Status(), f.NewStatus(), f.Notify()} {
		_ = unix.Unlink(path) // os.Remove would try each missing one twice
	}
}

// StartRecord is what .run says. Each line of it adds to those before.
type StartRecord struct {
	Supervisor *Identity `json:"shim,omitempty"`
	Child      *Identity `json:"child,omitempty"`
	Tree       string    `json:"crowd,omitempty"` // Child.TreePath
	NeverKill  bool      `json:"spare,omitempty"` // kill_mode none: not even to clean up
	At         uint64    `json:"at,omitempty"`    // when a child without a supervisor was about to be started, as Identity.Start
}

// OfThisBoot reports whether a process is named that was one of this boot.
func (r StartRecord) OfThisBoot() bool {
	for _, p := range []*Identity{r.Supervisor, r.Child} {
		if p != nil && p.ofThisBoot() {
			return true
		}
	}
	return false
}

// Create makes .run with a first line, and fails where there is one already: an
// attempt is started once. Whoever made it starts the job, and has .prepared go.
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

// ErrUnmarked says that .prepared is gone before the attempt was started: it is
// prepared anew.
var ErrUnmarked = errors.New("its files are gone")

// TakeMark has .prepared go, once .run is made. into is what it becomes, "" = nothing.
// After an error the attempt has not started.
func (f AttemptFiles) TakeMark(into string) error {
	var err error
	if into == "" {
		err = unix.Unlink(f.Prepared())
	} else {
		err = unix.Rename(f.Prepared(), into)
	}
	if err == nil {
		return nil
	}
	_ = unix.Unlink(f.Run())
	if errors.Is(err, unix.ENOENT) {
		return ErrUnmarked
	}
	return &os.PathError{Op: "remove", Path: f.Prepared(), Err: err}
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

// Started reports whether the attempt is known to have been started.
func (f AttemptFiles) Started() bool { _, ok := f.ReadStart(); return ok }

// ReadStart reads .run; false where there is none. A line that
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
