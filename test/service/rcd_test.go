//go:build linux && service

package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dispatchd/test/box"
)

// TestRcd runs FreeBSD's script in the shell that is nearest to FreeBSD's, with
// a small rc.subr and a daemon(8) of our own.
func TestRcd(t *testing.T) {
	t.Parallel()
	need(t, "/bin/busybox")
	m := newMachine(t, reaper()...)
	stand := filepath.Join(t.TempDir(), "daemon")
	if out, err := box.Build(stand, "dispatchd/test/service/daemon8"); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	m.Put(t, stand, "/usr/sbin/daemon")
	m.Put(t, box.Program(t, "dispatchd"), "/usr/local/sbin/dispatchd")
	m.Put(t, box.Program(t, "dispatchctl"), "/usr/local/bin/dispatchctl")
	m.Put(t, "testdata/rc.subr", "/etc/rc.subr")
	m.Write(t, "/etc/rc.conf", "", 0o644)
	m.service(map[string]string{"rc.d/dispatchd": "/usr/local/etc/rc.d/dispatchd"})
	const rc = "busybox ash /usr/local/etc/rc.d/dispatchd "

	if out := m.run(rc + "start"); !strings.Contains(out, "dispatchd_enable") {
		t.Errorf("a start of what is not enabled says %q", out)
	}
	m.want(69, "dispatchctl status")
	m.Write(t, "/etc/rc.conf", "dispatchd_enable=YES\ndispatchd_flags=--verbose\ndispatchd_restart_delay=1\n", 0o644)
	log := m.syslogd()
	m.want(1, rc+"status")
	m.run(rc + "start")
	m.run("dispatchctl status") // it answers when that returns
	if out := m.run("cat /proc/" + m.daemonPID() + "/cmdline"); !strings.HasSuffix(out, "\x00--verbose\x00") {
		t.Errorf("the daemon runs as %q", out)
	}
	log.await("job=" + m.quick())
	m.run(rc + "status")

	rcdStarts(m, rc)
	rcdStops(m, rc)
	m.reloads(rc+"reload", rc+"configtest")
	m.refuses(rc + "restart")
	rcdOrphan(m, rc)
	rcdForeign(m, rc)
}

// rcdForeign: a run directory that somebody else made, or may write to, is refused,
// and no pid file is written there.
func rcdForeign(m *machine, rc string) {
	m.t.Helper()
	m.run(rc + "stop")
	for _, put := range []string{"chown nobody /run/dispatchd", "chown root /run/dispatchd && chmod 777 /run/dispatchd", "mv /run/dispatchd /run/elsewhere && chmod 755 /run/elsewhere && ln -s elsewhere /run/dispatchd"} {
		m.Exec(m.t, "sh", "-c", put)
		if out, _ := m.Try(m.t, "sh", "-c", rc+"start"); !strings.Contains(out, "no directory of ours alone") {
			m.t.Errorf("%s: a start says %q", put, out)
		}
		m.want(69, "dispatchctl status")
		m.want(1, "test -e /run/dispatchd/daemon.pid")
	}
	m.run("rm /run/dispatchd")
	m.run("mv /run/elsewhere /run/dispatchd")
	m.run(rc + "start")
	m.run("dispatchctl status")
}

// rcdStarts: a start of what runs does nothing and is no error, also from a job.
func rcdStarts(m *machine, rc string) {
	m.t.Helper()
	before := m.daemonPID()
	out := m.run(rc + "start")
	if !strings.Contains(out, "running already, as pid "+before) || m.daemonPID() != before {
		m.t.Errorf("a second start says %q; the daemon was %s and is %s", out, before, m.daemonPID())
	}
	m.define("starts", "script = '"+rc+"start'\n")
	m.run(rc + "reload")
	m.run("dispatch-notify --wait starts")
	if m.daemonPID() != before {
		m.t.Error("a start from a job changed something")
	}

	h := m.hold()
	m.endDaemon("KILL")
	m.awaitDaemon()
	h.running()
	m.run(rc + "restart")
	h.running()
	h.release()
	h.done()
}

// rcdStops: when stop returns, supervisor and daemon are gone, in order, and the
// job is not.
func rcdStops(m *machine, rc string) {
	m.t.Helper()
	m.define("direct", "script = 'trap \"sleep 0.3; echo >/run/ended; exit 0\" TERM; echo >/run/direct; sleep 60 & wait'\nsurvive_restart = false\n")
	m.run(rc + "reload")
	h := m.hold()
	m.run("dispatch-notify direct")
	m.until("test -e /run/direct")
	pid := m.daemonPID()
	m.run(rc + "stop")
	m.want(1, "kill -0 "+pid)
	m.run("test -e /run/ended") // a daemon that died on its way out would not have waited for it
	m.want(69, "dispatchctl status")
	m.want(1, rc+"status")
	m.want(1, rc+"stop")
	m.run(rc + "start")
	h.running()
	h.release()
	h.done()
}

// rcdOrphan: without daemon(8) the daemon goes on, a start leaves it alone, and a
// restart puts things right.
func rcdOrphan(m *machine, rc string) {
	m.t.Helper()
	supervisor, err := os.ReadFile(m.Path("/run/dispatchd/daemon.pid"))
	if err != nil {
		m.t.Fatal(err)
	}
	before := m.daemonPID()
	m.run("kill -KILL " + string(supervisor))
	m.until("! kill -0 " + string(supervisor))
	m.run(rc + "status")
	m.run(rc + "start")
	if got := m.daemonPID(); got != before {
		m.t.Errorf("without a supervisor the daemon was %s and is %s", before, got)
	}
	m.run(rc + "restart")
	if got := m.daemonPID(); got == before {
		m.t.Error("without a supervisor it was not restarted")
	}
	m.endDaemon("KILL")
	m.awaitDaemon()
}
