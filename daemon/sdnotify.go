package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"dispatchd/ipc"
)

// statusPause is the least time between two status texts.
const statusPause = time.Second

// serviceManager hears how the daemon is: datagrams to $NOTIFY_SOCKET, as
// sd_notify(3) describes them. systemd listens there, and others that learned it.
// Where that variable is not set there is none: nil, and all methods do nothing.
type serviceManager struct {
	log           *slog.Logger
	statusChanged chan struct{}                // has one when the status text may be another
	statusText    func(context.Context) string // asks the loop; "" = it has ended
}

// newServiceManager gives nil where no service manager listens.
func newServiceManager(h *host) *serviceManager {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return &serviceManager{log: h.log, statusChanged: make(chan struct{}, 1), statusText: func(ctx context.Context) (text string) {
		_ = h.view(ctx, func(s *state) { text = s.statusText() })
		return text
	}}
}

// send sends assignments. That nobody hears them is no reason to stop.
func (m *serviceManager) send(assignments ...string) {
	if m == nil {
		return
	}
	if _, err := systemd.SdNotify(false, strings.Join(assignments, "\n")); err != nil {
		m.log.Debug("the service manager cannot be told", "error", err)
	}
}

// ready says that the socket answers and what was there is recovered, and has
// the manager told of what follows until stopping is closed.
func (m *serviceManager) ready(stopping <-chan struct{}) {
	if m == nil {
		return
	}
	m.send("READY=1", m.status())
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("the service manager's watchdog gets no answers", "error", err)
	}
	go m.watchdog(interval, stopping)
}

// status is the present status as an assignment.
func (m *serviceManager) status() string { return "STATUS=" + m.statusText(context.Background()) }

// watchdog keeps the manager informed. A watchdog is answered only after the loop
// has been: one that hangs has the daemon killed, and the jobs go on.
func (m *serviceManager) watchdog(interval time.Duration, stopping <-chan struct{}) {
	var beat <-chan time.Time
	if interval > 0 {
		ticker := time.NewTicker(interval / 2)
		defer ticker.Stop()
		beat = ticker.C
	}
	pause := time.NewTimer(statusPause)
	defer pause.Stop()
	var changed <-chan struct{} // nil while the last text is too new
	last := ""
	for {
		select {
		case <-beat:
			if m.statusText(context.Background()) != "" {
				m.send("WATCHDOG=1")
			}
		case <-pause.C:
			changed = m.statusChanged
		case <-changed:
			if text := m.status(); text != last {
				last = text
				m.send(text)
			}
			changed = nil
			pause.Reset(statusPause)
		case <-stopping:
			return
		}
	}
}

// reloading tells the manager that the definitions are read anew; what it gives
// says that this is done.
func (m *serviceManager) reloading() func() {
	if m == nil {
		return func() {}
	}
	m.send("RELOADING=1", systemd.SdNotifyMonotonicUsec(), "STATUS=reading the definitions")
	return func() { m.send("READY=1", m.status()) }
}

// changed notes that the status text may be another. It never waits.
func (m *serviceManager) changed() {
	if m == nil {
		return
	}
	select {
	case m.statusChanged <- struct{}{}:
	default: // it is known already
	}
}

// statusText says in a line what the daemon does.
func (s *state) statusText() string {
	var parts []string
	switch {
	case s.journal.Err() != nil:
		parts = append(parts, "NOTHING IS ACCEPTED, the journal cannot be written")
	case s.draining:
		parts = append(parts, "draining")
	}
	queued, running := s.core.Counts()
	switch {
	case running > 0:
		parts = append(parts, "running "+s.runningNames())
	case queued == 0:
		parts = append(parts, "idle")
	}
	if queued > 0 {
		parts = append(parts, fmt.Sprintf("%d queued", queued))
	}
	c := s.catalog.Load()
	parts = append(parts, ipc.Counted(len(c.Specs), "dispatcher"))
	if n := len(c.Disabled) + len(c.Unlisted); n > 0 {
		parts = append(parts, fmt.Sprintf("%d faulty: run dispatchctl doctor", n))
	}
	return strings.Join(parts, "; ")
}

// runningNames names some dispatchers that run.
func (s *state) runningNames() string {
	const most = 3
	var names []string
	for r := range s.attempts() {
		names = append(names, r.Spec.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
