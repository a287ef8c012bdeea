//go:build linux && service

package service

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

const socketPath = "/run/dispatchd/control.sock"

// activation: the first client starts the daemon. The socket is systemd's: it
// stays over restarts and crashes, and no client meets a closed door.
func activation(m *machine) {
	m.run("systemctl stop dispatchd.service")
	m.run("systemctl start dispatchd.socket")
	if got := m.show("ActiveState"); got != "inactive" {
		m.t.Fatalf("before the first client the daemon is %s", got)
	}
	if got := strings.TrimSpace(m.Exec(m.t, "stat", "-c", "%A %U %G", socketPath)); got != "srw-rw---- root dispatchd" {
		m.t.Errorf("the socket is %s", got)
	}
	socket := inode(m.t, m.Path(socketPath))
	m.quick()
	if got := m.show("ActiveState"); got != "active" {
		m.t.Errorf("after the first client the daemon is %s", got)
	}

	m.inherits()

	clients := m.clients()
	h := m.hold()
	for range 3 {
		m.run("systemctl restart dispatchd.service")
	}
	j := m.follow()
	m.run(fmt.Sprintf("kill -KILL %d", m.pid()))
	j.await(startedUnit())
	j = m.follow()
	m.run("systemctl kill --kill-whom=main --signal=USR2 dispatchd.service")
	j.await(ready())
	h.running()
	h.release()
	h.done()
	if said := clients.stop(); said != "" {
		m.t.Errorf("clients met a closed door:\n%s", said)
	}
	m.run("systemctl stop dispatchd.service")
	if got := inode(m.t, m.Path(socketPath)); got != socket {
		m.t.Error("somebody removed systemd's socket")
	}
	m.quick()
	// Without the socket's unit all is as it was before.
	m.run("systemctl stop dispatchd.socket dispatchd.service")
	if said := m.clients().stop(); said == "" {
		m.t.Error("clients without a socket do not complain: the test above shows nothing")
	}
	m.run("systemctl start dispatchd.service")
	m.quick()
}

// inherits: what systemd gives the daemon is not given to jobs, neither its
// socket nor what it says in the environment.
func (m *machine) inherits() {
	m.t.Helper()
	m.define("look", "script = 'env; exec ls -l /proc/self/fd'\n")
	m.t.Cleanup(func() { m.remove("/etc/dispatchd/dispatchers.d/look.toml") })
	m.run("dispatchctl reload")
	id := strings.TrimSpace(m.run("dispatch-notify --print-id look"))
	m.run("dispatchctl -q wait " + id)
	out := m.run("dispatchctl log " + id)
	looked := false
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID", "MAINPID":
			m.t.Errorf("a job gets %s", line)
		case "NOTIFY_SOCKET":
			if strings.Contains(line, "systemd") {
				m.t.Errorf("a job gets %s", line)
			}
		}
		if _, what, is := strings.Cut(line, " -> "); is {
			looked = true
			fields := strings.Fields(line)
			fd := fields[len(fields)-3]
			// What ls itself opens is the directory of its descriptors.
			if n, err := strconv.Atoi(fd); (err != nil || n > 3) && !strings.HasPrefix(what, "/proc/") {
				m.t.Errorf("a job has a descriptor: %s", line)
			}
		}
	}
	if !looked || !strings.Contains(out, "DISPATCHD_JOB_ID="+id) {
		m.t.Errorf("the job has not looked:\n%s", out)
	}
}

// clients is somebody who asks all the time.
type clients struct {
	m    *machine
	cmd  *exec.Cmd
	said strings.Builder
}

// clients starts one. It says when nobody listens; one that a daemon had let in
// before it was killed has no cause to complain of the door.
func (m *machine) clients() *clients {
	m.t.Helper()
	const loop = `n=0; while
		n=$((n + 1)); out=$(dispatchctl status 2>&1)
		case $out in *"there is no socket"* | *"nobody listens"*) echo "request $n: $out" ;; esac
		[ -e /run/ask ]
	do :; done; echo $n >/run/asked`
	m.Write(m.t, "/run/ask", "", 0o600)
	c := &clients{m: m, cmd: m.Command(context.Background(), "sh", "-c", loop)}
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	if err := c.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return c
}

// stop ends it and gives what it said.
func (c *clients) stop() string {
	c.m.t.Helper()
	c.m.remove("/run/ask")
	if err := c.cmd.Wait(); err != nil {
		c.m.t.Error(err)
	}
	c.m.t.Logf("%s requests", strings.TrimSpace(c.m.run("cat /run/asked")))
	return c.said.String()
}
