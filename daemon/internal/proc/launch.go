package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// Credential is who a child runs as.
type Credential struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Launch says how to run one attempt of a job.
type Launch struct {
	Job          string         `json:"job"`
	Dispatcher   string         `json:"dispatcher"`
	Argv         []string       `json:"argv"` // Argv[0] is a path
	Env          []string       `json:"env"`
	Dir          string         `json:"dir"`
	Umask        int            `json:"umask"` // -1 = the daemon's
	Credential   *Credential    `json:"credential,omitempty"`
	ArgsFile     string         `json:"args_file"`           // standard input; "" = /dev/null
	OutputFile   string         `json:"output_file"`         // appended to; "" = the caller's own
	DataFile     string         `json:"data_file,omitempty"` // standard output, which is data there; "" = the output file
	MaxData      int64          `json:"max_data,omitempty"`  // for who bounds the data while it comes: a byte more is kept, to tell
	NotifySocket string         `json:"notify_socket"`       // made for NOTIFY_SOCKET; "" = none
	Timeout      time.Duration  `json:"timeout"`             // 0 = none
	Grace        time.Duration  `json:"grace"`               // between TERM and KILL
	KillMode     mode.KillMode  `json:"kill_mode"`
	Leftovers    mode.Leftovers `json:"leftovers"`  // of an end by itself
	MaxOutput    int64          `json:"max_output"` // for who bounds the output while it runs
	Boot         string         `json:"boot"`       // BootID, or "" to have it looked up

	NoCgroup bool         `json:"by_descent"` // follow a tree so even where there are cgroups
	Files    AttemptFiles `json:"marks"`      // of this attempt; "" = none

	// SelfSupervised says that this process does nothing else: the child dies with it, and
	// all that it starts may be followed. The goroutine that starts it must be
	// locked to its thread.
	SelfSupervised bool `json:"-"`
}

// tracked reports whether all descendants have to be known, not the group only.
func (l *Launch) tracked() bool { return l.KillMode.Tracked() || l.Leftovers.Tracked() }

// NeedsShim reports whether only a process of the job's own can do what the
// launch wants: a tree is followed by its nearest reaper, and what must never be
// killed must not depend on the daemon.
func (l *Launch) NeedsShim() bool { return l.tracked() || l.KillMode.Never() }

// Update is a child's word about itself. A zero field says nothing.
type Update struct {
	Percent       *float64
	Message       string
	Result        json.RawMessage
	Failure       json.RawMessage // why it fails, in the child's own words
	ExtendTimeout time.Duration
	Late          bool // its timeout is over, and its kill_mode lets it run on
}

// Exit is how a child ended.
type Exit struct {
	Code           int
	Signal         string // such as SIGKILL, "" when it ended by itself
	TimedOut       bool
	Canceled       bool
	Err            error // it could not be started
	SupervisorLost bool  // its end is not known: who watched it is gone
	NotStarted     bool  // it never started, and may be started again
	Result         json.RawMessage
	Failure        json.RawMessage // what the child said of why it fails
	Started        time.Time
	Ended          time.Time
	Progress       *ipc.Progress
}

// Exited reports whether a child ran and ended with a code of its own, asked
// to or not.
func (e Exit) Exited() bool {
	return e.Err == nil && e.Signal == "" && !e.SupervisorLost && !e.NotStarted
}

// LookPath finds a command: a path as it is, a bare name in the directories of
// path. The current directory is never searched.
func LookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, name)
		fi, err := os.Stat(full)
		if err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0 && filepath.IsAbs(dir) {
			return full, nil
		}
	}
	return "", fmt.Errorf("command %q: not found in %s", name, path)
}

// daemonUmask is what the daemon sets for itself, and children inherit.
const daemonUmask = 0o022

// files opens what the child gets as descriptors 0 to 2, and the progress pipe.
func (l *Launch) files() (list []int, progress *os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(list)
		}
	}()
	in := l.ArgsFile
	if in == "" {
		in = os.DevNull
	}
	stdin, err := open(in, unix.O_RDONLY)
	if err != nil {
		return nil, nil, err
	}
	list = append(list, stdin)
	if l.OutputFile == "" {
		list = append(list, 1, 2)
	} else {
		out, err := open(l.OutputFile, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT)
		if err != nil {
			return list, nil, fmt.Errorf("output file: %w", err)
		}
		data := out
		if l.DataFile != "" {
			if data, err = open(l.DataFile, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW); err != nil {
				closeAll([]int{stdin, out})
				return nil, nil, fmt.Errorf("data file: %w", err)
			}
		}
		list = append(list, data, out)
	}
	r, w, err := pipe()
	if err != nil {
		return list, nil, err
	}
	return append(list, w), r, nil
}

// open opens a file that a child gets, or of which little is wanted. os.OpenFile
// would offer it to the poller, with six calls more.
func open(path string, how int) (int, error) {
	for {
		fd, err := unix.Open(path, how|unix.O_CLOEXEC, 0o600)
		switch {
		case err == nil:
			return fd, nil
		case !errors.Is(err, unix.EINTR):
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// pipe makes a pipe from a child to us: only our end is the poller's.
func pipe() (r *os.File, w int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, -1, os.NewSyscallError("pipe", err)
	}
	return os.NewFile(uintptr(fds[0]), "progress"), fds[1], nil
}

// closeAll closes our copies of the child's files, but never our own output.
func closeAll(files []int) {
	for i, fd := range files {
		if fd > 2 && (i != 2 || fd != files[1]) {
			_ = unix.Close(fd)
		}
	}
}

// argv wraps the command in a shell where it wants another umask: there is no
// way to set one for the child alone, and the daemon's is everybody's.
func (l *Launch) argv() []string {
	if l.Umask < 0 || l.Umask == daemonUmask {
		return l.Argv
	}
	return append([]string{"/bin/sh", "-c", fmt.Sprintf(`umask %04o && exec "$@"`, l.Umask), "sh"}, l.Argv...)
}

// attributes are the child's session, directory and user.
func (l *Launch) attributes(files []int, env []string) *syscall.ProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true}
	if l.OutputFile == "" { // in the foreground Ctrl-C must reach us, not it
		sys = &syscall.SysProcAttr{Setpgid: true}
	}
	if l.SelfSupervised && !l.KillMode.Never() {
		sys.Pdeathsig = syscall.SIGKILL
	}
	if c := l.Credential; c != nil {
		sys.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	attr := &syscall.ProcAttr{Dir: l.Dir, Env: env, Sys: sys}
	for _, fd := range files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	return attr
}

// startError says which file of a launch is at fault.
func startError(l *Launch, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if errors.Is(err, syscall.EPERM) && l.Credential != nil {
		return fmt.Errorf("start %s as user %d: %w: the daemon may not change user", l.Argv[0], l.Credential.UID, err)
	}
	if _, statErr := os.Stat(l.Dir); statErr != nil {
		return fmt.Errorf("working directory %s: %w", l.Dir, errors.Unwrap(statErr))
	}
	return fmt.Errorf("start %s: %w", strconv.Quote(l.Argv[0]), err)
}
