//go:build linux && service

package service

import (
	"context"
	"fmt"
	"net"
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
	m.run("tail --pid=" + pid + " -s 0.01 -f /dev/null")
}

// awaitDaemon waits until a daemon answers.
func (m *machine) awaitDaemon() {
	m.t.Helper()
	m.until("dispatchctl status")
}

// until waits until a line for the shell succeeds.
func (m *machine) until(line string) {
	m.t.Helper()
	m.Exec(m.t, "sh", "-c", "until { "+line+"; } >/dev/null 2>&1; do sleep 0.02; done")
}

// background starts what is to run until the test ends.
func (m *machine) background(argv ...string) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := m.Command(ctx, argv...)
	if err := cmd.Start(); err != nil {
		cancel()
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
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

// syslogd is the machine's: it reads all the time, since who logs waits for it.
type syslogd struct {
	t     *testing.T
	lines chan string
}

// syslogd listens where a syslogd does, until the test ends.
func (m *machine) syslogd() *syslogd {
	m.t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.Path("/dev/log"), Net: "unixgram"})
	if err != nil {
		m.t.Fatal(err)
	}
	s := &syslogd{m.t, make(chan string, 10_000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 8192)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.lines <- string(buf[:n])
		}
	}()
	m.t.Cleanup(func() {
		_ = conn.Close()
		<-read
	})
	return s
}

// await waits for a line that has this text.
func (s *syslogd) await(text string) {
	s.t.Helper()
	for line := range s.lines {
		if strings.Contains(line, text) {
			return
		}
	}
}
