//go:build linux && service

package service

import "strings"

// verified: systemd has nothing to say about our units, with and without the
// hardening.
func verified(m *machine) {
	verify := "systemd-analyze verify --man=no /lib/systemd/system/dispatchd.service /lib/systemd/system/dispatchd.socket"
	if out := m.run(verify); out != "" {
		m.t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// What jobs bear is in the unit itself.
	if out := m.run("systemctl show -p LockPersonality -p KeyringMode dispatchd.service"); !strings.Contains(out, "LockPersonality=yes") || !strings.Contains(out, "KeyringMode=private") {
		m.t.Errorf("the unit has %s", out)
	}
	m.harden()
	if out := m.run(verify); out != "" {
		m.t.Errorf("systemd-analyze verify, hardened:\n%s", out)
	}
	m.Write(m.t, "/run/systemd/system/dispatchd.service.d/typo.conf", "[Service]\nKilMode=process\n", 0o644)
	if out, _ := m.Try(m.t, strings.Fields(verify)...); !strings.Contains(out, "KilMode") {
		m.t.Errorf("systemd-analyze verify finds no fault:\n%s", out)
	}
	m.remove("/run/systemd/system/dispatchd.service.d/typo.conf")
}

// harden puts the drop-in into force, until the scene's end.
func (m *machine) harden() {
	m.t.Helper()
	const path = "/etc/systemd/system/dispatchd.service.d/hardening.conf"
	m.service(map[string]string{"systemd/hardening.conf": path})
	m.run("systemctl daemon-reload")
	m.t.Cleanup(func() {
		m.remove(path)
		m.run("systemctl daemon-reload")
		m.run("systemctl restart dispatchd.service")
	})
}

// probes are what a job may do by the unit alone and may not with the hardening.
// Each prints nothing.
func probes() map[string]string {
	return map[string]string{
		"usr":    "touch /usr/probe",
		"etc":    "touch /etc/probe",
		"home":   "test -e /root/probe",
		"device": "mknod /run/probe-device c 1 3 && rm /run/probe-device",
		"setuid": "touch /run/probe-setuid && chmod u+s /run/probe-setuid",
		"host":   "hostname probe",
		"kernel": "dmesg",
	}
}

// hardened: the drop-in takes from jobs what it says, and leaves the daemon and
// jobs that need none of it alone, also those that run while it comes into force.
func hardened(m *machine) {
	m.Write(m.t, "/root/probe", "", 0o600)
	var script strings.Builder
	script.WriteString("script = '''\n")
	for name, probe := range probes() {
		script.WriteString("if (" + probe + ") >/dev/null 2>&1; then echo " + name + " may; else echo " + name + " may not; fi\n")
	}
	m.define("probe", script.String()+"'''\n")
	m.t.Cleanup(func() { m.remove("/etc/dispatchd/dispatchers.d/probe.toml") })
	m.run("systemctl reload dispatchd.service")
	m.probe("may")
	h := m.hold()
	m.harden()
	m.run("systemctl restart dispatchd.service")
	h.running()
	m.probe("may not")
	m.quick()
	h.release()
	h.done()
	h = m.holdOf("tree")
	if len(m.groupOf(h)) == 0 {
		m.t.Error("hardened, a tree is not in its cgroup")
	}
	h.release()
	h.done()

	out := m.run("systemd-analyze security --no-pager --offline=yes --threshold=55 dispatchd.service")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	m.t.Log(lines[len(lines)-1])
}

// probe runs the probes, which must all say the same.
func (m *machine) probe(want string) {
	m.t.Helper()
	id := strings.TrimSpace(m.run("dispatch-notify --print-id probe"))
	m.run("dispatchctl -q wait " + id)
	out := m.run("dispatchctl log " + id)
	for line := range strings.Lines(out) {
		if name, got, _ := strings.Cut(strings.TrimSpace(line), " "); got != want {
			m.t.Errorf("probe %s: the job %s, want %s", name, got, want)
		}
	}
	if n := strings.Count(out, "\n"); n != len(probes()) {
		m.t.Errorf("%d of %d probes spoke:\n%s", n, len(probes()), out)
	}
}
