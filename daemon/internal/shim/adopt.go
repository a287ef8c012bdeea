package shim

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// Adopt takes over an attempt that an earlier daemon started, or was about to start:
// whether it still runs, has ended, or never began. The client tells its end in each
// case, and where that is not known it is over only when nothing of it is left.
//
// The files of an attempt may have been removed while it ran. Its supervisor is then
// found among the processes, and makes them anew. since is when the start was journaled.
func Adopt(f proc.AttemptFiles, job string, since time.Time, onUpdate func(proc.Update)) *Client {
	c := newClient(f, job, onUpdate)
	c.channel, c.since = silence{}, since
	if start, ok := f.ReadStart(); ok {
		c.recorded, c.start = start.Supervisor, start
	}
	fd, err := dial(f.Socket())
	switch {
	case err == nil:
		c.follow(fd)
	case errors.Is(err, unix.ECONNREFUSED): // nobody listens any more
		go func() {
			waitSupervisor(c)
			c.gone()
		}()
	case adoptLegacy(c): // there is no socket, or its supervisor lets nobody in: version 1 may get through
	default:
		s := &search{client: c}
		c.channel = s
		go s.run()
	}
	return c
}

// Lives reports whether a job has a living supervisor, by the processes alone.
func Lives(job string) bool {
	_, found := proc.FindSupervisor(Name, Env, job)
	return found
}

// follow has a connection to the supervisor be the way to it.
func (c *Client) follow(fd int) {
	k := newLink(fd, c)
	_ = k.greet() // one that is gone meanwhile is found by read
	go k.read()
}

// silence is the channel to a supervisor that is gone.
type silence struct{}

func (silence) send(...Request) error { return os.ErrProcessDone }
func (silence) close()                {}

// search is the channel to a supervisor whose socket is gone. As long as that is so, it
// hears nothing but signals.
type search struct {
	client *Client

	mu     sync.Mutex
	found  proc.Identity // zero = not yet
	stop   bool          // is wanted
	closed bool
}

// How often a supervisor is looked at that was told to make its socket anew: one of a
// release before does not, and is waited for to its end.
const (
	searchPoll = 5 * time.Millisecond
	searchSlow = 500 * time.Millisecond
)

// run finds the supervisor, and returns when there is a better way to it, or it is gone.
func (s *search) run() {
	c := s.client
	supervisor, alive := c.find()
	if !alive {
		c.gone()
		return
	}
	s.tellStop(supervisor)
	supervisor.Signal(unix.SIGUSR1)
	for begun := time.Now(); supervisor.Alive(); {
		if s.isClosed() {
			return
		}
		if fd, err := dial(c.files.Socket()); err == nil {
			c.follow(fd)
			if s.wantsStop() {
				_ = c.Stop()
			}
			return
		}
		wait := searchPoll
		if time.Since(begun) > searchSlow {
			wait = searchSlow
		}
		<-time.After(wait)
	}
	_, _ = unix.Wait4(supervisor.PID, nil, unix.WNOHANG, nil) // after an upgrade it may be our child
	c.gone()
}

// find finds the supervisor that an attempt was adopted from: where it was recorded,
// else among the processes.
func (c *Client) find() (supervisor proc.Identity, alive bool) {
	if p := c.recorded; p != nil {
		return *p, p.Alive()
	}
	// One that has not started may be about to: its supervisor lives, and must not be
	// followed by another one.
	p, found := proc.FindSupervisor(Name, Env, c.job)
	if found {
		c.recorded = &p
	}
	return p, found
}

// tellStop keeps who the supervisor is, and passes on a stop that was wanted before.
func (s *search) tellStop(supervisor proc.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = supervisor
	if s.stop {
		supervisor.Signal(unix.SIGTERM)
	}
}

// wantsStop reports whether a stop is wanted.
func (s *search) wantsStop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop
}

// isClosed reports whether nobody wants to know the end any more.
func (s *search) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// send is channel's.
func (s *search) send(list ...Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range list {
		if r.Verb != Stop {
			return errors.ErrUnsupported
		}
	}
	s.stop = true
	if s.found.PID != 0 {
		s.found.Signal(unix.SIGTERM)
	}
	return nil
}

// close is channel's.
func (s *search) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
