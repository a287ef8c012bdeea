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

// Silence says, for a client that gets no answer, what who serves the socket does
// meanwhile, as far as the kernel tells. pid is that of the process that listens, 0 =
// not known.
func Silence(connected bool, pid int, socket string) string {
	text := "it has accepted the connection and does not answer"
	if !connected {
		text = "it accepts no connections (as many as the system allows wait for it)"
	}
	if p, ok := server(pid, socket); ok {
		text += ": " + p.String()
	}
	return text
}

// server is the process that serves a socket: the one that listened, or, where
// that is the service manager or not known, the one that has the socket open, as
// far as this process may look.
func server(pid int, socket string) (Process, bool) {
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
