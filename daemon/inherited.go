package daemon

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// handoverEnv names the descriptor of the handover in the next image's
// environment.
const handoverEnv = "DISPATCHD_HANDOVER"

// inherited is what one image of the program gives the next, beside the journal
// and the marks: the socket, the lock of the state directory, and the children
// that have no shim. Descriptors are named by their numbers.
type inherited struct {
	Listener  int          `json:"listener"`
	Activated bool         `json:"activated"`
	Bridge    int          `json:"bridge"`
	Draining  bool         `json:"draining"`
	Counters  ipc.Counters `json:"counters"`
	Runs      []handedRun  `json:"runs"`
}

// handedRun is a run without a shim.
type handedRun struct {
	Job     string         `json:"job"`
	Attempt int            `json:"attempt"`
	Child   proc.Inherited `json:"child"`
	Locks   []handedLock   `json:"locks"`
}

// handedLock is one of its locks.
type handedLock struct {
	FD     int  `json:"fd"`
	Shared bool `json:"shared"`
}

// readInherited reads what the last image left, nil where there was none.
func readInherited() (*inherited, error) {
	word := os.Getenv(handoverEnv)
	if word == "" {
		return nil, nil
	}
	_ = os.Unsetenv(handoverEnv)
	fd, err := strconv.Atoi(word)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q: not a descriptor", handoverEnv, word)
	}
	f := os.NewFile(uintptr(fd), "handover")
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(0, 0); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	var h inherited
	if err := json.NewDecoder(f).Decode(&h); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	return &h, nil
}

// lock is the lock that keeps others out between two images.
func (h *inherited) lock() *os.File {
	if h == nil {
		return nil
	}
	return os.NewFile(uintptr(h.Bridge), "bridge")
}

// listener is the socket, with all who wait to be let in.
func (h *inherited) listener() (*net.UnixListener, error) {
	f := os.NewFile(uintptr(h.Listener), "listener")
	defer func() { _ = f.Close() }()
	l, err := server.Inherited(f)
	if err != nil {
		return nil, fmt.Errorf("handed socket: %w", err)
	}
	return l, nil
}

// duplicate makes a second listener on the same socket.
func duplicate(l *net.UnixListener) (net.Listener, error) {
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = f.Close() }()
	copied, err := server.Inherited(f)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return copied, nil
}

// environment is ours, for the next image.
func environment(fd int) []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, handoverEnv+"=") })
	return append(env, fmt.Sprintf("%s=%d", handoverEnv, fd))
}
