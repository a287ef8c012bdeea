package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/dispatchers/mode"
)

// Credential is who a child runs as.
type Credential struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Launch says how to run one attempt of a job.
type Launch struct {
	Job        string      `json:"job"`
	Dispatcher string      `json:"dispatcher"`
	Argv       []string    `json:"argv"` // Argv[0] is a path
	Env        []string    `json:"env"`
	Dir        string      `json:"dir"`
	Umask      int         `json:"umask"` // -1 = the daemon's
	Credential *Credential `json:"credential,omitempty"`
	ArgsFile   string      `json:"args_file"`   // standard input; "" = /dev/null
	OutputFile string      `json:"output_file"` // appended to; "" = the caller's own
	DataOutput
	NotifySocket string         `json:"notify_socket"` // made for NOTIFY_SOCKET; "" = none
	Timeout      time.Duration  `json:"timeout"`       // 0 = none
	Grace        time.Duration  `json:"grace"`         // between TERM and KILL
	KillMode     mode.KillMode  `json:"kill_mode"`
	Leftovers    mode.Leftovers `json:"leftovers"`  // of an end by itself
	MaxOutput    int64          `json:"max_output"` // for who bounds the output while it runs
	Boot         string         `json:"boot"`       // BootID, or "" to have it looked up

	Files AttemptFiles `json:"marks"` // of this attempt; "" = none

	Terms

	// SelfSupervised says that this process does nothing else: the child dies with
	// it, and all that it starts may be followed. The goroutine that starts it must
	// be locked to its thread: PR_SET_PDEATHSIG means the thread that forked.
	SelfSupervised bool `json:"-"`
}

// NeedsTree reports whether all descendants have to be known, not the group only.
func (l *Launch) NeedsTree() bool { return l.KillMode.Tracked() || l.Leftovers.Tracked() }

// NeedsShim reports whether only a supervisor of the job's own can do what the
// launch wants: a tree is followed by its nearest reaper, and what must never be
// killed must not depend on the daemon.
func (l *Launch) NeedsShim() bool { return l.NeedsTree() || l.KillMode.Never() }

// Terms are further conditions of a launch.
type Terms struct {
	// Marked says that Files has .prepared, without which the attempt must not start:
	// somebody has removed the files, and with them what says that it did not.
	Marked bool `json:"marked,omitempty"`

	// TimeoutMax is how far the child may extend its timeout, from its start on.
	TimeoutMax time.Duration `json:"timeout_max,omitempty"` // 0 = any time

	NoCgroup bool `json:"by_descent"` // follow a tree so even where there are cgroups
}

// DataOutput is where a cache's data goes, apart from what the job says.
type DataOutput struct {
	DataFile string `json:"data_file,omitempty"` // standard output, which is data there; "" = the output file
	MaxData  int64  `json:"max_data,omitempty"`  // for who bounds the data while it comes: a byte more is kept, to tell
}

// Update is what a child says of itself. A zero field says nothing.
type Update struct {
	Percent       *float64
	Message       string
	Result        json.RawMessage
	Failure       json.RawMessage // why it fails, in the child's own words
	ExtendTimeout time.Duration
	Deadline      time.Time // of its timeout, where that has changed
	Late          bool      // its timeout is over, and its kill_mode lets it run on
}

// daemonUmask is what the daemon sets for itself, and children inherit.
const daemonUmask = 0o022

// open opens a file that a child gets, or of which little is wanted. os.OpenFile
// would offer it to the poller, with six calls more. A signal may interrupt it
// where a file system of the network answers slowly (open(2), EINTR).
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

// argv wraps the command in a shell where it wants another umask: there is no
// way to set one for the child alone, and the daemon's is all its threads'.
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
		sys.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: host{}.groups(c)}
	}
	attr := &syscall.ProcAttr{Dir: l.Dir, Env: env, Sys: sys}
	for _, fd := range files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	return attr
}
