//go:build linux && service

package service

import (
	"os"
	"strings"
	"testing"
)

// TestOpenRC boots a runlevel with our script in it.
func TestOpenRC(t *testing.T) {
	t.Parallel()
	need(t, "/sbin/openrc-run", "/sbin/supervise-daemon")
	m := newMachine(t, reaper()...)
	m.service(map[string]string{"openrc/dispatchd": "/etc/init.d/dispatchd"})
	log := m.syslogd()
	m.Write(t, "/etc/rc.conf", "rc_cgroup_mode=unified\nrc_cgroup_cleanup=YES\nrc_logger=NO\n", 0o644)
	// Debian's package leaves it to others to bring this one.
	m.Write(t, "/etc/init.d/localmount", "#!/sbin/openrc-run\nstart() { :; }\n", 0o755)
	m.run("rc-update add dispatchd default")
	for _, level := range []string{"sysinit", "boot", "default"} {
		m.run("openrc " + level)
	}
	m.run("dispatchctl status") // it answers when the runlevel is reached
	log.await("job ended dispatcher=quick job=" + m.quick())
	m.run("rc-service dispatchd start") // a second one is none
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
	hangs(m)
}

// hangs: a daemon whose core hangs is started anew, and its job does not notice.
func hangs(m *machine) {
	script, err := os.ReadFile("../../init/openrc/dispatchd")
	if err != nil {
		m.t.Fatal(err)
	}
	short := strings.NewReplacer("timeout 30 ", "timeout 1 ", "TERM/90/", "TERM/1/").Replace(string(script))
	if len(short) != len(script)-2 {
		m.t.Fatal("the script's patience is another")
	}
	m.Write(m.t, "/etc/init.d/dispatchd", short, 0o755)
	m.Write(m.t, "/etc/conf.d/dispatchd", "healthcheck_timer=1\n", 0o644)
	m.Put(m.t, hung(m.t), "/usr/sbin/dispatchd")
	m.run("rc-service dispatchd restart")
	h, old := m.hold(), m.daemonPID()
	m.run("rc-service dispatchd healthcheck")
	m.Write(m.t, "/run/hang", "", 0o600)
	m.run("tail --pid=" + old + " -s 0.01 -f /dev/null")
	m.awaitDaemon()
	h.running()
	h.release()
	h.done()
}
