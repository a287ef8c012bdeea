package daemon

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"dispatchd/ipc"
)

// How a service manager is told how the daemon is: datagrams to $NOTIFY_SOCKET,
// as sd_notify(3) describes them. systemd listens there, and others that learned
// it. Without that variable nobody is told, and nothing here runs.

// statusPause is the least time between two status texts.
const statusPause = time.Second

// managed reports that a service manager listens.
func managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// tellManager sends assignments. That nobody hears them is no reason to stop.
func (e *engine) tellManager(assignments ...string) {
	if _, err := systemd.SdNotify(false, strings.Join(assignments, "\n")); err != nil {
		e.log.Debug("the service manager cannot be told", "error", err)
	}
}

// tellReady says that the socket answers and what was there is recovered, and
// has the manager told of what follows.
func (e *engine) tellReady() {
	if !managed() {
		return
	}
	e.tellManager("READY=1", "STATUS="+e.lookDoing())
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		e.log.Warn("the service manager's watchdog gets no answers", "error", err)
	}
	go e.attend(interval)
}

// attend keeps the manager informed until the loop ends. A watchdog is answered
// only after the loop has been: one that hangs has the daemon killed, and the
// jobs go on.
func (e *engine) attend(watchdog time.Duration) {
	var beat <-chan time.Time
	if watchdog > 0 {
		ticker := time.NewTicker(watchdog / 2)
		defer ticker.Stop()
		beat = ticker.C
	}
	pause := time.NewTimer(statusPause)
	defer pause.Stop()
	var stirred <-chan struct{} // nil while the last text is too new
	last := ""
	for {
		select {
		case <-beat:
			if e.look(func() {}) {
				e.tellManager("WATCHDOG=1")
			}
		case <-pause.C:
			stirred = e.stirred
		case <-stirred:
			if text := e.lookDoing(); text != last {
				last = text
				e.tellManager("STATUS=" + text)
			}
			stirred = nil
			pause.Reset(statusPause)
		case <-e.done:
			return
		}
	}
}

// reloading tells the manager that the definitions are read anew; what it gives
// says that this is done.
func (e *engine) reloading() func() {
	if !managed() {
		return func() {}
	}
	e.tellManager("RELOADING=1", systemd.SdNotifyMonotonicUsec(), "STATUS=reading the definitions")
	return func() { e.tellManager("READY=1", "STATUS="+e.lookDoing()) }
}

// look has the loop run fn when it comes to it, and waits. To be looked at is
// no event: the loop's rest goes on. It reports whether there was still a loop.
func (e *engine) look(fn func()) bool {
	looked := make(chan struct{})
	select {
	case e.looks <- func() { fn(); close(looked) }:
	case <-e.done:
		return false
	}
	select {
	case <-looked:
		return true
	case <-e.ended:
		return false
	}
}

// stir says, on the loop, that the status may be another.
func (e *engine) stir() {
	select {
	case e.stirred <- struct{}{}:
	default: // it is known already
	}
}

// lookDoing asks the loop what the daemon does.
func (e *engine) lookDoing() string {
	text := "stopping"
	e.look(func() { text = e.doing() })
	return text
}

// doing says in a line what the daemon does. It belongs to the loop.
func (e *engine) doing() string {
	var parts []string
	switch {
	case e.journalErr != nil:
		parts = append(parts, "NOTHING IS ACCEPTED, the journal cannot be written")
	case e.draining:
		parts = append(parts, "draining")
	}
	queued, running := e.core.Counts()
	switch {
	case running > 0:
		parts = append(parts, "running "+e.runningNames())
	case queued == 0:
		parts = append(parts, "idle")
	}
	if queued > 0 {
		parts = append(parts, fmt.Sprintf("%d queued", queued))
	}
	c := e.catalog.Load()
	parts = append(parts, ipc.Counted(len(c.Specs), "dispatcher"))
	if n := len(c.Disabled) + len(c.Unlisted); n > 0 {
		parts = append(parts, fmt.Sprintf("%d faulty: run dispatchctl doctor", n))
	}
	return strings.Join(parts, "; ")
}

// runningNames names some dispatchers that run.
func (e *engine) runningNames() string {
	const most = 3
	names := make([]string, 0, len(e.runs))
	for _, r := range e.runs {
		names = append(names, r.spec.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
