//go:build linux && service

package service

import (
	"fmt"
	"strings"
	"testing"

	"dispatchd/test/box"
)

// dropIn sets something else in the unit, until the scene's end.
func (m *machine) dropIn(text string) {
	m.t.Helper()
	const path = "/run/systemd/system/dispatchd.service.d/test.conf"
	m.Write(m.t, path, "[Service]\n"+text+"\n", 0o644)
	m.run("systemctl daemon-reload")
	m.t.Cleanup(func() {
		m.remove(path)
		m.run("systemctl daemon-reload")
	})
}

// night: a daemon that crashes again and again is started again and again.
// systemd's own limit is five times in ten seconds.
func night(m *machine) {
	m.dropIn("RestartSec=10ms")
	h := m.hold()
	for range 6 {
		j := m.follow()
		m.run(fmt.Sprintf("kill -KILL %d", m.pid()))
		j.await(startedUnit())
	}
	h.running()
	h.release()
	h.done()
}

// hung is a daemon whose core hangs once, at the first event after somebody has
// made a file.
func hung(t *testing.T) string {
	t.Helper()
	return box.Variant(t, []box.Patch{
		{"daemon/internal/loop/loop.go", "\t\"context\"\n", "\t\"context\"\n\t\"os\"\n"},
		{"daemon/internal/loop/loop.go", "\t\tfn(l.state)\n\tcase <-l.wakeup:\n", "\t\tif os.Remove(\"/run/hang\") == nil {\n\t\t\tselect {}\n\t\t}\n\t\tfn(l.state)\n\tcase <-l.wakeup:\n"},
	})
}

// watchdog: a daemon whose core hangs is killed, with its stacks in the journal,
// and started anew. The job does not notice.
func watchdog(m *machine) {
	if got := m.show("WatchdogUSec"); got != "2min" {
		m.t.Errorf("the unit's watchdog is %s", got)
	}
	m.dropIn("WatchdogSec=1s\nRestartSec=10ms")
	m.Put(m.t, hung(m.t), "/usr/sbin/dispatchd")
	m.t.Cleanup(func() { m.Put(m.t, box.Program(m.t, "dispatchd"), "/usr/sbin/dispatchd") })
	m.run("systemctl restart dispatchd.service")
	h, old := m.hold(), m.pid()
	j := m.follow()
	m.Write(m.t, "/run/hang", "", 0o600)
	_, _ = m.Try(m.t, "timeout", "0.1", "dispatchctl", "jobs") // an event
	j.await(map[string]string{"UNIT": "dispatchd.service", "UNIT_RESULT": "watchdog"})
	j.await(startedUnit())
	if m.pid() == old {
		m.t.Error("the hung daemon is still there")
	}
	stacks := m.run(fmt.Sprintf("journalctl --output=cat _PID=%d", old))
	if !strings.Contains(stacks, "loop.(*Loop[...]).Run(") {
		m.t.Errorf("the journal has no stacks of the hung daemon:\n%s", stacks)
	}
	h.running()
	h.release()
	h.done()
}
