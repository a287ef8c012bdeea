package shim

import (
	"errors"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// Adopt takes over an attempt that an earlier daemon of this boot started under a
// supervisor, whether it still runs, has ended, or never began. False: there was no
// supervisor.
func Adopt(f proc.AttemptFiles, job string, onUpdate func(proc.Update)) (*Client, bool) {
	c := newClient(f, job, onUpdate)
	fd, err := dial(f.Socket())
	switch {
	case err == nil:
		k := newLink(fd, c)
		_ = k.greet() // one that is gone meanwhile is found by read
		go k.read()
		return c, true
	case errors.Is(err, unix.ECONNREFUSED): // nobody listens any more
		c.channel = silence{}
		go func() {
			waitSupervisor(0, f)
			c.gone()
		}()
		return c, true
	}
	// There is no socket, or its supervisor lets nobody in: version 1 may get through.
	return c, adoptLegacy(c)
}

// silence is the channel to a supervisor that is gone.
type silence struct{}

func (silence) send(...Request) error { return unix.EPIPE }
func (silence) close()                {}
