//go:build linux && service

package service

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"dispatchd/test/box"
	"dispatchd/test/service/testbed"
)

// startedUnit is systemd's word that a unit has started, which it says once the
// daemon has said that it is ready. The id is that of systemd's catalog.
func startedUnit() map[string]string {
	return map[string]string{"MESSAGE_ID": "39f53479d3a045ac8e11786248231fbf", "UNIT": "dispatchd.service"}
}

// ready is what the daemon says when its socket answers.
func ready() map[string]string {
	return map[string]string{"SYSLOG_IDENTIFIER": "dispatchd", "DISPATCHD_SOCKET": "/run/dispatchd/control.sock"}
}

// newSystemd boots a machine with our unit enabled and started.
func newSystemd(t *testing.T) *machine {
	t.Helper()
	need(t)
	if why := testbed.MissingSystemd(); why != "" {
		t.Skip(why)
	}
	m := newMachine(t)
	m.service(map[string]string{
		"systemd/dispatchd.service": "/lib/systemd/system/dispatchd.service",
		"systemd/dispatchd.socket":  "/lib/systemd/system/dispatchd.socket",
	})
	m.Write(t, "/etc/dispatchd/dispatchd.toml", "socket_group = \"dispatchd\"\n", 0o644)
	m.run("systemctl daemon-reload")
	m.run("systemctl enable --now dispatchd.service")
	return m
}

// TestSystemd plays the scenes of an admin's day, one after the other, in one
// machine.
func TestSystemd(t *testing.T) {
	t.Parallel()
	m := newSystemd(t)
	for _, scene := range []struct {
		name string
		play func(*machine)
	}{
		{"start", started},
		{"places", places},
		{"journal", journaled},
		{"status", statusText},
		{"crash", crash},
		{"restart", restart},
		{"reload", reload},
		{"hangup", hangUp},
		{"stop", stop},
		{"upgrade", upgrade},
		{"journald", journalRestarted},
		{"configuration", badConfiguration},
		{"night", night},
		{"watchdog", watchdog},
		{"activation", activation},
		{"verify", verified},
		{"hardening", hardened},
	} {
		if !t.Run(scene.name, func(t *testing.T) { scene.play(m.on(t)) }) {
			t.Logf("the journal's end:\n%s", m.run("journalctl --no-pager --lines=40"))
			return
		}
	}
}

// started: the unit was started, and answers already.
func started(m *machine) {
	m.run("dispatchctl status")
	m.quick()
	if got := m.run("systemctl is-enabled dispatchd.service"); got != "enabled\n" {
		m.t.Errorf("the unit is %q", got)
	}
	m.run("dispatchctl doctor")
	m.dropIn("KillMode=mixed")
	m.want(1, "dispatchctl doctor")
}

// places: the directories and the socket are as they should be, also after a
// reload: before it systemd gives a runtime directory that is not its user's and
// group's to them, and all that is in it.
func places(m *machine) {
	m.run("systemctl reload dispatchd")
	for path, want := range map[string]string{
		"/run/dispatchd":              "drwxr-xr-x root root",
		"/run/dispatchd/locks":        "drwxr-xr-x root dispatchd",
		"/run/dispatchd/control.sock": "srw-rw---- root dispatchd",
		"/var/lib/dispatchd":          "drwx------ root root",
		"/var/cache/dispatchd":        "drwxr-xr-x root root",
		"/etc/dispatchd":              "drwxr-xr-x root root",
	} {
		if got := strings.TrimSpace(m.Exec(m.t, "stat", "-c", "%A %U %G", path)); got != want {
			m.t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// journaled: what is said of a job is found by its fields.
func journaled(m *machine) {
	id := m.quick()
	e := entriesOf(m, "JOB_ID="+id)
	if len(e) == 0 {
		m.t.Fatalf("the journal has nothing with JOB_ID=%s", id)
	}
	want := map[string]string{
		"DISPATCHER": "quick", "JOB_ID": id, "SYSLOG_IDENTIFIER": "dispatchd", "PRIORITY": "6", "DISPATCHD_STATE": "succeeded",
		"_SYSTEMD_UNIT": "dispatchd.service", "_PID": strconv.Itoa(m.pid()), "_TRANSPORT": "journal",
	}
	if !e[len(e)-1].is(want) {
		m.t.Errorf("the entry of the end has %v, want %v", e[len(e)-1], want)
	}
	if len(entriesOf(m, "DISPATCHER=quick")) < 2 {
		m.t.Error("the jobs of a dispatcher are not found by its name")
	}
}

// statusText: systemctl status says what the daemon does.
func statusText(m *machine) {
	h := m.hold()
	m.awaitStatus("running gate; 3 dispatchers")
	h.release()
	h.done()
	m.awaitStatus("idle; 3 dispatchers")
}

// awaitStatus waits for the unit's status text. systemd tells nobody of its
// changes without a bus, so it is asked until it is there.
func (m *machine) awaitStatus(want string) {
	m.t.Helper()
	for m.show("StatusText") != want {
	}
}

// crash: the daemon is killed while a job runs. systemd starts it anew, the job
// lives on, and its end arrives.
func crash(m *machine) {
	for _, name := range []string{"gate", "tree"} {
		j, h, old := m.follow(), m.holdOf(name), m.pid()
		m.run(fmt.Sprintf("kill -KILL %d", old))
		j.await(startedUnit())
		if m.pid() == old {
			m.t.Error("the daemon was not killed")
		}
		h.running()
		h.release()
		h.done()
	}
}

// restart: an orderly restart leaves the job alone, too.
func restart(m *machine) {
	h, old := m.hold(), m.pid()
	m.run("systemctl restart dispatchd.service")
	if m.pid() == old {
		m.t.Error("nothing was restarted")
	}
	h.running()
	h.release()
	h.done()
}

// reload: systemctl waits for it, and fails where a file has faults. Neither
// touches the daemon or a job.
func reload(m *machine) {
	h, old := m.hold(), m.pid()
	m.want(66, "dispatch-notify fresh")
	m.define("fresh", "script = 'true'\n")
	m.run("systemctl reload dispatchd.service")
	m.run("dispatch-notify fresh")

	j := m.follow()
	m.define("fresh", "scrpt = 'true'\n")
	m.want(1, "systemctl reload dispatchd.service")
	j.await(map[string]string{"SYSLOG_IDENTIFIER": "dispatchctl"})
	m.run("dispatch-notify fresh") // the last good definition
	m.remove("/etc/dispatchd/dispatchers.d/fresh.toml")
	m.run("systemctl reload dispatchd.service")
	m.want(66, "dispatch-notify fresh")

	if got := m.show("ActiveState") + " " + m.show("SubState"); got != "active running" || m.pid() != old {
		m.t.Errorf("after reloads the unit is %s", got)
	}
	h.release()
	h.done()
}

// hangUp: SIGHUP is a reload, too.
func hangUp(m *machine) {
	j, old := m.follow(), m.pid()
	m.run("systemctl kill --kill-whom=main --signal=HUP dispatchd.service")
	j.await(map[string]string{"SYSLOG_IDENTIFIER": "dispatchd", "DISPATCHD_ADDED": "0"})
	if m.pid() != old {
		m.t.Error("SIGHUP ended the daemon")
	}
}

// stop: a job lives on without a daemon, and ends without one. Its result is
// there after the next start, which finds its files where they were.
func stop(m *machine) {
	h := m.hold()
	marks := m.run("find /run/dispatchd -mindepth 1 -type f,p")
	m.run("systemctl stop dispatchd.service")
	m.want(69, "dispatchctl status")
	if got := m.run("find /run/dispatchd -mindepth 1 -type f,p"); got != marks || !strings.Contains(marks, h.id) {
		m.t.Errorf("after the stop the run directory has\n%swant\n%s", got, marks)
	}
	if _, err := os.Stat(m.Path("/run/dispatchd/control.sock")); err == nil {
		m.t.Error("the socket is still there")
	}
	h.release()
	m.awaitNobody()
	m.run("systemctl start dispatchd.service")
	h.done()

	// And once more with the job still there at the start.
	h = m.holdOf("tree")
	if len(m.groupOf(h)) == 0 {
		m.t.Errorf("job %s has no processes in its group", h.id)
	}
	m.run("systemctl stop dispatchd.service")
	m.run("systemctl start dispatchd.service")
	h.running()
	h.release()
	h.done()
}

// upgrade: the daemon becomes the program that is installed now, and to systemd
// it is the same process.
func upgrade(m *machine) {
	h, old := m.hold(), m.pid()
	program := m.Path(fmt.Sprintf("/proc/%d/exe", old))
	before := inode(m.t, program)
	m.Put(m.t, box.Program(m.t, "dispatchd"), "/usr/sbin/dispatchd")
	j := m.follow()
	m.run("systemctl kill --kill-whom=main --signal=USR2 dispatchd.service")
	j.await(ready())
	if m.pid() != old || inode(m.t, program) == before {
		m.t.Errorf("process %d runs the program as before", m.pid())
	}
	h.running()
	h.release()
	h.done()
}

// inode is a file's.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal(fs.ErrInvalid)
	}
	return st.Ino
}

// journalRestarted: the journal goes away for a moment, which must not end the
// daemon nor what it says.
func journalRestarted(m *machine) {
	old := m.pid()
	m.run("systemctl restart systemd-journald.service")
	id := m.quick()
	m.run("journalctl --sync")
	if m.pid() != old || len(entriesOf(m, "JOB_ID="+id)) == 0 {
		m.t.Error("the daemon or its journal did not outlive a restart of journald")
	}
}

// badConfiguration: what will not get better by itself is not tried again.
func badConfiguration(m *machine) {
	m.Write(m.t, "/etc/dispatchd/dispatchd.toml", "socket_grup = \"dispatchd\"\n", 0o644)
	m.want(1, "systemctl restart dispatchd.service")
	if state, n := m.show("ActiveState"), m.show("ExecMainStatus"); state != "failed" || n != "78" {
		m.t.Errorf("with a bad dispatchd.toml the unit is %s, exit %s", state, n)
	}
	m.Write(m.t, "/etc/dispatchd/dispatchd.toml", "socket_group = \"dispatchd\"\n", 0o644)
	m.run("systemctl start dispatchd.service")
}
