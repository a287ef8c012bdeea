//go:build linux

package service

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"dispatchd/test/service/testbed"
)

// reaper is a first process that does what every init does, and nothing else.
func reaper() []string { return []string{"/bin/sh", "-c", "sleep infinity & wait"} }

// need skips a test where a program is not installed, or no machine can be had.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if why := testbed.Missing(); why != "" {
		t.Skip(why)
	}
	for _, p := range programs {
		if _, err := os.Stat(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// TestOpenRC boots a runlevel with our script in it.
func TestOpenRC(t *testing.T) {
	need(t, "/sbin/openrc-run", "/sbin/supervise-daemon")
	m := newMachine(t, reaper()...)
	m.service(map[string]string{"openrc/dispatchd": "/etc/init.d/dispatchd"})
	m.Write(t, "/etc/rc.conf", "rc_cgroup_mode=unified\nrc_cgroup_cleanup=YES\nrc_logger=NO\n", 0o644)
	// Debian's package leaves it to others to bring this one.
	m.Write(t, "/etc/init.d/localmount", "#!/sbin/openrc-run\nstart() { :; }\n", 0o755)
	m.run("rc-update add dispatchd default")
	for _, level := range []string{"sysinit", "boot", "default"} {
		m.run("openrc " + level)
	}
	m.run("dispatchctl status") // it answers when the runlevel is reached
	m.quick()
	m.run("rc-service dispatchd start")
	m.run("rc-service dispatchd status")

	h := m.hold()
	m.endDaemon("KILL")
	m.awaitDaemon()
	h.running()
	m.run("rc-service dispatchd restart")
	h.running()
	m.run("rc-service dispatchd stop")
	m.want(3, "rc-service dispatchd status")
	m.want(69, "dispatchctl status")
	m.run("rc-service dispatchd start")
	h.running()
	h.release()
	h.done()
	m.reloads("rc-service dispatchd reload", "rc-service dispatchd configtest")
	m.refuses("rc-service dispatchd restart")
}

// daemonPID is the daemon, as the machine sees it.
func (m *machine) daemonPID() string {
	m.t.Helper()
	text, err := os.ReadFile(m.Path("/var/lib/dispatchd/lock"))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// endDaemon sends the daemon a signal and waits for its end.
func (m *machine) endDaemon(signal string) {
	m.t.Helper()
	pid := m.daemonPID()
	m.run(fmt.Sprintf("kill -%s %s", signal, pid))
	m.run("timeout 30 tail --pid=" + pid + " -s 0.01 -f /dev/null")
}

// awaitDaemon waits until a daemon answers.
func (m *machine) awaitDaemon() {
	m.t.Helper()
	m.Exec(m.t, "timeout", "30", "sh", "-c", "until dispatchctl status >/dev/null 2>&1; do sleep 0.02; done")
}

// reloads: a reload and a check succeed, and fail when a file has faults.
func (m *machine) reloads(reload, check string) {
	m.t.Helper()
	m.define("fresh", "script = 'true'\n")
	m.run(check)
	m.run(reload)
	m.run("dispatch-notify fresh")
	m.define("bad", "scrpt = 'true'\n")
	if _, code := m.Try(m.t, strings.Fields(check)...); code == 0 {
		m.t.Errorf("%s finds no fault", check)
	}
	if _, code := m.Try(m.t, strings.Fields(reload)...); code == 0 {
		m.t.Errorf("%s does not tell of a fault", reload)
	}
	m.remove("/etc/dispatchd/dispatchers.d/bad.toml")
	m.run("dispatchctl status")
}

// refuses: a restart with a bad dispatchd.toml fails, and leaves the daemon that
// runs alone.
func (m *machine) refuses(restart string) {
	m.t.Helper()
	before := m.daemonPID()
	m.Write(m.t, "/etc/dispatchd/dispatchd.toml", "max_runing = 1\n", 0o644)
	out, code := m.Try(m.t, strings.Fields(restart)...)
	if code == 0 || !strings.Contains(out, "max_runing") {
		m.t.Errorf("%s with a bad dispatchd.toml: exit %d\n%s", restart, code, out)
	}
	if after := m.daemonPID(); after != before {
		m.t.Errorf("the daemon was %s and is %s", before, after)
	}
	m.run("dispatchctl status")
	m.remove("/etc/dispatchd/dispatchd.toml")
}
