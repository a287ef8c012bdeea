package shim

import (
	"bytes"
	"encoding/json"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// Version 1 of the protocol, for one release: a FIFO of hints in place of the
// socket, SIGTERM for stop, SIGUSR1 for "say the last hint again", and the launch as
// JSON. A supervisor keeps the FIFO as well, so that a daemon of the release before
// can adopt its job after a downgrade. A daemon of the release before may also start
// this program as its supervisor, when the file was replaced under it.

// hint is a line of a supervisor to its daemon, shorter than a pipe writes at once.
type hint struct {
	Percent *float64 `json:"percent,omitempty"`
	Message string   `json:"message,omitempty"`
	Late    bool     `json:"late,omitempty"`
	Error   string   `json:"error,omitempty"` // why nothing was started
}

// fifo is the pipe of hints, as its supervisor has it.
type fifo struct {
	fd    int
	heard bool // somebody reads: a daemon of version 1
}

// isLegacy reports whether a launch is of version 1.
func isLegacy(text []byte) bool { return len(text) > 0 && text[0] == '{' }

// bornLegacy reads a launch of version 1. Its supervisor was born with the FIFO in
// place of the listener, and does not know how many locks it has: they go with it.
func (a *attempt) bornLegacy(text []byte) (l proc.Launch, err error) {
	a.fifo, a.listener = fifo{fd: listenerFD, heard: true}, -1
	if !bytes.HasSuffix(text, []byte("\n")) {
		return l, errNoLaunch
	}
	// The descriptor's way to the child made it wait; a full pipe must not.
	if err := unix.SetNonblock(listenerFD, true); err != nil {
		return l, err
	}
	return l, json.Unmarshal(text, &l)
}

// openFifo opens the pipe of hints that a daemon of version 1 would read. Opened for
// both, it is there whether somebody reads or not, and its end is this process's.
func openFifo(f proc.AttemptFiles) fifo {
	fd, err := unix.Open(f.Fifo(), unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fifo{fd: -1}
	}
	return fifo{fd: fd}
}

// open is for a daemon that asks for the last hint, and reads from now on.
func (f *fifo) open(a *attempt) {
	f.heard = true
	f.say(hint{Percent: a.last.Percent, Message: a.last.Message, Late: a.late})
}

// update passes on what the job says of itself.
func (f *fifo) update(u proc.Update) {
	f.say(hint{Percent: u.Percent, Message: u.Message, Late: u.Late})
}

// say writes a hint, if somebody reads. What does not go out is left out.
func (f *fifo) say(h hint) {
	if f.fd < 0 || !f.heard {
		return
	}
	if text, err := json.Marshal(h); err == nil {
		_, _ = unix.Write(f.fd, append(text, '\n'))
	}
}
