//go:build linux && service

package service

import "testing"

// TestRunit has runsvdir supervise the daemon.
func TestRunit(t *testing.T) {
	t.Parallel()
	need(t, "/usr/bin/runsvdir", "/usr/bin/sv", "/usr/bin/svlogd")
	m := newMachine(t, reaper()...)
	m.services("runit/dispatchd", "run", "finish", "check", "log/run")
	m.background("runsvdir", "-P", "/run/service")
	m.until("test -p /run/service/dispatchd/supervise/ok")
	m.supervised(lever{
		up: "sv start /run/service/dispatchd", down: "sv stop /run/service/dispatchd", restart: "sv restart /run/service/dispatchd",
		hangUp: "sv hup /run/service/dispatchd", again: "sv up /run/service/dispatchd",
		state: "sv status /run/service/dispatchd",
	})
}

// TestS6 has s6-svscan supervise the daemon, and waits for its readiness.
func TestS6(t *testing.T) {
	t.Parallel()
	need(t, "/usr/bin/s6-svscan", "/usr/bin/s6-svc", "/usr/bin/s6-log")
	m := newMachine(t, reaper()...)
	m.services("s6/dispatchd", "run", "finish", "type", "notification-fd", "log/run")
	m.background("s6-svscan", "/run/service")
	m.until("s6-svok /run/service/dispatchd")
	m.supervised(lever{
		up: "s6-svc -wU -u -T 30000 /run/service/dispatchd", down: "s6-svc -wD -d -T 30000 /run/service/dispatchd",
		restart: "s6-svc -wR -r -T 30000 /run/service/dispatchd",
		hangUp:  "s6-svc -h /run/service/dispatchd", again: "s6-svc -u /run/service/dispatchd",
		state: "s6-svstat /run/service/dispatchd",
	})
}

// services copies a service directory to where the supervisor looks for it.
func (m *machine) services(from string, names ...string) {
	m.t.Helper()
	files := map[string]string{}
	for _, name := range names {
		files[from+"/"+name] = "/run/service/dispatchd/" + name
	}
	m.service(files)
}

// lever are the commands of a supervisor that has a directory a service.
type lever struct{ up, down, restart, hangUp, again, state string }

// supervised plays the scenes that such a supervisor knows.
func (m *machine) supervised(l lever) {
	m.run(l.up)
	m.run("dispatchctl status") // it answers when that returns
	m.until("grep -q job=" + m.quick() + " /var/log/dispatchd/current")

	h := m.hold()
	m.endDaemon("KILL")
	m.awaitDaemon()
	h.running()
	m.run(l.restart)
	m.awaitDaemon()
	h.running()
	m.run(l.down)
	m.want(69, "dispatchctl status")
	m.run(l.up)
	h.running()
	h.release()
	h.done()

	m.define("fresh", "script = 'true'\n")
	m.run(l.hangUp)
	m.until("grep -q added=1 /var/log/dispatchd/current")
	m.run("dispatch-notify fresh")

	m.Write(m.t, "/etc/dispatchd/dispatchd.toml", "max_runing = 1\n", 0o644)
	m.endDaemon("TERM")
	m.until("grep -q 'staying down' /var/log/dispatchd/current")
	m.until("s=$(" + l.state + "); echo $s | grep -q ^down && ! echo $s | grep -q 'want up'")
	m.remove("/etc/dispatchd/dispatchd.toml")
	m.run(l.again)
	m.awaitDaemon()
}
