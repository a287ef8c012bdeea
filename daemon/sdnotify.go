package daemon

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
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
func newServiceManager(log *slog.Logger, statusText func(context.Context) string) *serviceManager {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return &serviceManager{log: log, statusChanged: make(chan struct{}, 1), statusText: statusText}
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
