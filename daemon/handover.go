package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// handoverEnv names the descriptor of the handover in the next image's
// environment.
const handoverEnv = "DISPATCHD_HANDOVER"

// handover is what one image of the program gives the next, beside the journal
// and the marks: the socket, the lock of the state directory, and the children
// that have no shim. Descriptors are named by their numbers.
type handover struct {
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

// takeHandover reads what the last image left, nil where there was none.
func takeHandover() (*handover, error) {
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
	var h handover
	if err := json.NewDecoder(f).Decode(&h); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	return &h, nil
}

// bridge is the lock that keeps others out between two images.
func (h *handover) bridge() *os.File {
	if h == nil {
		return nil
	}
	return os.NewFile(uintptr(h.Bridge), "bridge")
}

// listener is the socket, with all who wait to be let in.
func (h *handover) listener() (*net.UnixListener, error) {
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

// resume takes over a run whose child the last image handed us.
func (e *engine) resume(r *run) bool {
	if e.given == nil {
		return false
	}
	i := slices.IndexFunc(e.given.Runs, func(h handedRun) bool { return h.Job == r.job.ID.String() && h.Attempt == r.attempt })
	if i < 0 {
		return false
	}
	h := e.given.Runs[i]
	p, err := proc.Resume(h.Child, func(u proc.Update) { e.post(func() { e.progressed(r, u) }) })
	if err != nil {
		e.log.Error("a handed child cannot be watched", "job", h.Job, "error", err)
		return false
	}
	for _, l := range h.Locks {
		r.locks = append(r.locks, held{file: os.NewFile(uintptr(l.FD), "lock"), shared: l.Shared})
	}
	r.process, r.late = p, h.Child.TimedOut
	if h.Child.Percent != nil || h.Child.Message != "" {
		r.progress = &ipc.Progress{Percent: h.Child.Percent, Message: h.Child.Message}
	}
	e.occupy(r)
	go e.follow(r, p)
	return true
}

// handDirect ends our watch over the children without a shim, and gives what
// the next image needs of them. Those that have ended meanwhile are waited for.
func (e *engine) handDirect(ctx context.Context) (runs []handedRun, keep []*os.File, err error) {
	direct := map[queue.ID]*run{}
	if err := e.do(ctx, func() {
		for id, r := range e.runs {
			if _, ok := r.process.(*proc.Process); ok {
				direct[id] = r
			}
		}
	}); err != nil {
		return nil, nil, err
	}
	for id, r := range direct {
		p, ok := r.process.(*proc.Process)
		if !ok {
			continue
		}
		child, files, ok := p.Detach()
		if !ok {
			continue
		}
		h := handedRun{Job: r.job.ID.String(), Attempt: r.attempt, Child: child}
		for _, l := range r.locks {
			h.Locks = append(h.Locks, handedLock{int(l.file.Fd()), l.shared})
			keep = append(keep, l.file)
		}
		delete(direct, id)
		runs, keep = append(runs, h), append(keep, files...)
	}
	// What is left in direct has ended: its end must reach the book.
	recorded, err := e.until(ctx, func() bool {
		for id := range direct {
			if e.runs[id] != nil {
				return false
			}
		}
		return true
	})
	if err != nil {
		return nil, nil, err
	}
	<-recorded
	return runs, keep, nil
}

// environment is ours, for the next image.
func environment(fd int) []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, handoverEnv+"=") })
	return append(env, fmt.Sprintf("%s=%d", handoverEnv, fd))
}
