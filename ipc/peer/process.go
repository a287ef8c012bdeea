package peer

import (
	"fmt"
	"strconv"
	"time"
)

// Process is what the kernel says of a process.
type Process struct {
	PID     int
	Name    string    // of its program, "" = not known
	State   byte      // the letter of ps(1), 0 = not known
	LastRan time.Time // when one of its threads last had a processor; zero = not known
	Started time.Time // zero = not known
}

// String is the process for people, with its state and since when it has it, as
// far as the kernel tells.
func (p Process) String() string {
	text := "process " + strconv.Itoa(p.PID)
	if p.Name != "" {
		text += " (" + p.Name + ")"
	}
	if p.State == 0 {
		return text
	}
	text += fmt.Sprintf(", state %c (%s)", p.State, stateWords(p.State))
	switch {
	case !p.LastRan.IsZero() && p.State != 'R':
		text += " since " + p.LastRan.Local().Format(time.DateTime)
	case !p.Started.IsZero():
		text += ", started " + p.Started.Local().Format(time.DateTime)
	}
	return text
}

// stateWords says what a state letter means (proc_pid_stat(5)).
func stateWords(state byte) string {
	switch state {
	case 'R':
		return "runs"
	case 'S':
		return "sleeps"
	case 'D':
		return "waits for a disk or another device"
	case 'T':
		return "stopped by a signal; kill -CONT lets it go on"
	case 't':
		return "stopped by a debugger"
	case 'Z':
		return "dead, and not yet collected"
	}
	return "not known here"
}

// Server names the process that serves a socket, for a client that gets no answer:
// the one that listened, as the kernel told at connect. Where that is the service
// manager, or where no connection was made, it is the one that has the socket
// open, as far as this process may look.
func Server(pid int, socket string) (Process, bool) {
	if pid <= 1 {
		if holder := listenerOf(socket); holder > 0 {
			pid = holder
		}
	}
	if pid <= 0 {
		return Process{}, false
	}
	return Look(pid), true
}
