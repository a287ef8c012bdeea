package proc

import (
	"encoding/json"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
)

// Inherited is a child on its way from one image of the program to the next: the
// process stays the same, and so its children stay its children. The files go
// with it as descriptors.
type Inherited struct {
	Launch   Launch          `json:"launch"`
	PID      int             `json:"pid"`
	Started  time.Time       `json:"started"`
	Left     time.Duration   `json:"left"`                // of its timeout, 0 = none
	MostLeft time.Duration   `json:"most_left,omitempty"` // of what it may extend that to, 0 = any time
	TimedOut bool            `json:"timed_out,omitempty"`
	Percent  *float64        `json:"percent,omitempty"`
	Message  string          `json:"message,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Failure  json.RawMessage `json:"failure,omitempty"`
	Line     []byte          `json:"line,omitempty"` // of its progress, not yet ended
	Skip     bool            `json:"skip,omitempty"`
	Progress int             `json:"progress_fd"`
	Notify   int             `json:"notify_fd"`        // below 0 = none
	Output   *output.Handed  `json:"output,omitempty"` // nil = it prints to a file of its own: the image before was of the release before
}

// Detach ends our watch over a child and gives what the next image needs; the
// files are to be kept open over the exec. False: it has ended, or is being
// ended, and its Exit is what counts. keep, where it is not nil, gives its output to
// another process, for a next image that does not know of it.
func (p *Process) Detach(keep func(*output.Keeper) error) (Inherited, []*os.File, bool) {
	close(p.detach)
	select {
	case <-p.detached:
	case <-p.done:
		return Inherited{}, nil, false
	}
	_ = p.progress.SetReadDeadline(time.Now())
	p.reading.Wait()
	p.stopCopying()
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.child
	h := Inherited{
		Launch: c.launch, PID: c.pid, Started: c.exit.Started, Left: c.Left(time.Now()), MostLeft: c.MostLeft(time.Now()), TimedOut: c.exit.TimedOut,
		Percent: c.report.current.Percent, Message: c.report.current.Message, Result: c.report.result, Failure: c.report.failure,
		Line: c.report.line, Skip: c.report.skip, Progress: int(p.progress.Fd()), Notify: -1,
	}
	files := []*os.File{p.progress}
	if p.notify != nil {
		files = append(files, p.notify)
		h.Notify = int(p.notify.Fd())
	}
	switch {
	case c.output == nil:
	case keep != nil && keep(c.output) == nil:
		c.output.Close()
	default:
		out, fds := c.output.Hand(func(_, fd int) int { return fd })
		h.Output = &out
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "output"))
		}
	}
	return h, files, true
}

// Resume watches a child that the last image of this program started.
func Resume(h Inherited, onUpdate func(Update)) (*Process, error) {
	c := newChild(h.Launch, h.PID, h.Left)
	if h.MostLeft > 0 {
		c.limit = time.Now().Add(h.MostLeft)
	}
	if err := unix.SetNonblock(h.Progress, true); err != nil {
		return nil, err
	}
	c.identity, c.progress = IdentityOf(h.PID), h.Progress
	c.exit.Started, c.exit.TimedOut = h.Started, h.TimedOut
	c.report = report{
		current: Update{Percent: h.Percent, Message: h.Message}, result: h.Result, failure: h.Failure, line: h.Line, skip: h.Skip,
	}
	if h.Notify >= 0 {
		if err := unix.SetNonblock(h.Notify, true); err != nil {
			return nil, err
		}
		c.notify = &notifySocket{fd: h.Notify, path: h.Launch.NotifySocket}
	}
	if h.Output != nil {
		c.output = output.Take(*h.Output)
	}
	p := newProcess(c, onUpdate)
	p.watch()
	return p, nil
}

// Exec replaces the program by another, or a newer one, that finds the files
// under the numbers of their descriptors. It returns only if that fails. SIGHUP
// and SIGUSR2 are not heard until the next program listens for them: one that
// came in between would end it.
func Exec(argv, env []string, keep []*os.File) error {
	// No child that is being started elsewhere may inherit them.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	for _, f := range keep {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	signal.Ignore(unix.SIGHUP, unix.SIGUSR2)
	err := unix.Exec(argv[0], argv, env)
	for _, f := range keep {
		unix.CloseOnExec(int(f.Fd()))
	}
	return err
}
