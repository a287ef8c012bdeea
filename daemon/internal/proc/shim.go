package proc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
)

// Descriptors that a shim is born with; the locks come after them.
const (
	shimLaunch = 3 // the Launch as JSON, then EOF
	shimFifo   = 4 // its updates
)

// errNoLaunch says that a shim was not told what to do.
var errNoLaunch = errors.New("no launch")

// ShimEnv is set in the environment of a shim, and of nothing else.
const ShimEnv = "DISPATCHD_SHIM"

// maxLaunch bounds the launch that a shim reads.
const maxLaunch = 16 << 20

// trimEvery is how often a running job's output is held against its bound, and
// trimIdle how seldom where it does not grow.
const (
	trimEvery = 250 * time.Millisecond
	trimIdle  = time.Second
)

// hint is a line of a shim to its daemon, shorter than a pipe writes at once.
type hint struct {
	Percent *float64 `json:"percent,omitempty"`
	Message string   `json:"message,omitempty"`
	Late    bool     `json:"late,omitempty"`
	Error   string   `json:"error,omitempty"` // why nothing was started
}

// RunShim is the whole life of a shim, the small supervisor of one attempt. It
// holds the job's locks as descriptors that it was born with and never gives
// on, starts the job so that it dies with the shim, enforces timeout and kill
// whether a daemon lives or not, bounds the output file, and writes the end
// down. SIGTERM stops the job, SIGUSR1 has the last progress said again.
// It returns the exit code of the process.
func RunShim() int {
	runtime.LockOSThread() // Pdeathsig means the thread that forks
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE)
	CloseInherited()
	s := &shim{}
	err := s.begin()
	if errors.Is(err, errNoLaunch) {
		return 1 // its daemon went down over it: the next one starts it again
	}
	if err != nil {
		s.say(hint{Error: err.Error()})
		fmt.Fprintln(os.Stderr, "dispatchd shim: "+err.Error())
		return 1
	}
	p, err := s.start()
	if err != nil {
		now := time.Now()
		return s.end(Exit{Err: err, Started: now, Ended: now})
	}
	go s.bound(p)
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGTERM {
				_ = p.Stop()
			} else {
				s.again()
			}
		case <-p.Done():
			return s.end(p.Exit())
		}
	}
}

// shim is one at work.
type shim struct {
	launch Launch
	run    int      // .run
	status *os.File // what becomes .status

	mu   sync.Mutex
	last *hint // the newest progress
}

// begin reads the launch and makes the marks: from here on the attempt counts
// as started.
func (s *shim) begin() error {
	// The descriptor's way to the child made it wait; a full pipe must not.
	if err := unix.SetNonblock(shimFifo, true); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	in := os.NewFile(shimLaunch, "launch")
	text, err := io.ReadAll(io.LimitReader(in, maxLaunch))
	_ = in.Close()
	// It ends with a newline: without that its writer is gone.
	if err != nil || !bytes.HasSuffix(text, []byte("\n")) {
		return errNoLaunch
	}
	if err := json.Unmarshal(text, &s.launch); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	s.launch.SelfSupervised = true
	if s.status, err = s.launch.Files.reserveOutcome(); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	self := IdentityOf(os.Getpid())
	if s.run, err = s.launch.Files.Create(StartRecord{Supervisor: &self, NeverKill: s.launch.KillMode.Never()}); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
}

// start starts the job and says so.
func (s *shim) start() (*Process, error) {
	if s.launch.Umask >= 0 {
		unix.Umask(s.launch.Umask)
		s.launch.Umask = -1
	}
	made, err := Prepare(s.launch)
	if err != nil {
		return nil, err
	}
	p, err := made.start(s.update) // .run is there already
	if err != nil {
		made.Discard()
		return nil, err
	}
	child := p.Identity()
	m := StartRecord{Child: &child, Tree: p.child.TreePath()}
	// A full run directory must not end a job that has started: without this
	// line the child is found by its environment.
	_ = Append(s.run, m)
	s.say(hint{})
	return p, nil
}

// update passes on what the job says of itself.
func (s *shim) update(u Update) {
	h := hint{Percent: u.Percent, Message: u.Message, Late: u.Late}
	if !u.Late {
		s.mu.Lock()
		s.last = &h
		s.mu.Unlock()
	}
	s.say(h)
}

// again says the last progress to a daemon that came later.
func (s *shim) again() {
	s.mu.Lock()
	h := s.last
	s.mu.Unlock()
	if h != nil {
		s.say(*h)
	}
}

// say writes a hint. Nobody reads while no daemon lives, and a reader that does
// not read must not hold the job up: what does not go out is left out.
func (s *shim) say(h hint) {
	if text, err := json.Marshal(h); err == nil {
		_, _ = unix.Write(shimFifo, append(text, '\n'))
	}
}

// bound keeps the output within its bound while the job runs.
func (s *shim) bound(p *Process) {
	out := output.File{Path: s.launch.OutputFile, Max: s.launch.MaxOutput}
	wait := trimEvery
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-p.Done():
			return
		case <-timer.C:
		}
		grew, _ := out.Enforce()
		if wait = min(2*wait, trimIdle); grew {
			wait = trimEvery
		}
		if s.launch.DataFile != "" {
			output.Cut(s.launch.DataFile, s.launch.MaxData)
			wait = trimEvery
		}
		timer.Reset(wait)
	}
}

// end writes the end down. What only the run of the job needed goes first.
func (s *shim) end(e Exit) int {
	_ = os.Remove(s.launch.Files.Args())
	if err := s.launch.Files.writeOutcome(s.status, e); err != nil {
		fmt.Fprintln(os.Stderr, "dispatchd shim: the end cannot be written down: "+err.Error())
		return 1
	}
	return 0
}
