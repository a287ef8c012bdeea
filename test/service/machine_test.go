//go:build linux && service

package service

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/box"
	"dispatchd/test/service/testbed"
)

// gatePath is the pipe at which a job of the dispatcher "gate" stands until
// somebody lets it go.
const gatePath = "/run/gate"

// gateFile is the dispatcher "gate", and with a kill_mode of its own "tree". Each run leaves a line in /run/began.
const gateFile = `script = '''
echo "$DISPATCHD_JOB_ID" >>/run/began
read -r word <` + gatePath + `
echo "was told $word"
'''
timeout = "5m"
`

// machine is a testbed with our programs in it.
type machine struct {
	*testbed.Box
	t *testing.T
}

// newMachine starts a machine with an init, systemd if none is named, and
// installs what every package installs, except the service files.
func newMachine(t *testing.T, init ...string) *machine {
	t.Helper()
	bin := box.Programs(t)
	m := &machine{testbed.Start(t, init...), t}
	m.Put(t, filepath.Join(bin, "dispatchd"), "/usr/sbin/dispatchd")
	m.Put(t, filepath.Join(bin, "dispatchd-shim"), "/usr/libexec/dispatchd/dispatchd-shim")
	m.Put(t, filepath.Join(bin, "dispatchctl"), "/usr/bin/dispatchctl")
	m.Put(t, filepath.Join(bin, "dispatch-notify"), "/usr/bin/dispatch-notify")
	if _, code := m.Try(t, "getent", "group", "dispatchd"); code != 0 {
		m.Exec(t, "groupadd", "--system", "dispatchd")
	}
	m.define("gate", gateFile)
	m.define("tree", gateFile+"kill_mode = 'tree'\n")
	m.define("quick", "script = 'echo done'\n")
	if err := unix.Mkfifo(m.Path(gatePath), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// on gives the machine to another test.
func (m *machine) on(t *testing.T) *machine { return &machine{m.Box, t} }

// service copies service files from init into the machine.
func (m *machine) service(files map[string]string) {
	m.t.Helper()
	for from, to := range files {
		m.Put(m.t, filepath.Join("../../init", from), to)
	}
}

// define writes a dispatcher.
func (m *machine) define(name, text string) {
	m.t.Helper()
	m.Write(m.t, "/etc/dispatchd/dispatchers.d/"+name+".toml", text, 0o644)
}

// remove removes a file.
func (m *machine) remove(path string) {
	m.t.Helper()
	if err := os.Remove(m.Path(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
}

// run runs a command that must succeed.
func (m *machine) run(line string) string {
	m.t.Helper()
	return m.Exec(m.t, strings.Fields(line)...)
}

// want runs a command that must end with this code.
func (m *machine) want(code int, line string) string {
	m.t.Helper()
	out, got := m.Try(m.t, strings.Fields(line)...)
	if got != code {
		m.t.Fatalf("%s: exit %d, want %d\n%s", line, got, code, out)
	}
	return out
}

// quick runs a job from its notify to its end.
func (m *machine) quick() string {
	m.t.Helper()
	id := strings.TrimSpace(m.run("dispatch-notify --print-id quick"))
	m.run("dispatchctl -q wait " + id)
	return id
}

// held is a job that stands at the gate.
type held struct {
	m    *machine
	id   string
	gate *os.File
}

// hold starts a job of "gate", and returns when it stands there.
func (m *machine) hold() *held {
	m.t.Helper()
	return m.holdOf("gate")
}

// holdOf is hold of another dispatcher with such a script.
func (m *machine) holdOf(name string) *held {
	m.t.Helper()
	h := &held{m: m, id: strings.TrimSpace(m.run("dispatch-notify --print-id " + name))}
	var err error
	if h.gate, err = os.OpenFile(m.Path(gatePath), os.O_WRONLY, 0); err != nil { // until the job opens the other end
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = h.gate.Close() })
	return h
}

// release lets the job go.
func (h *held) release() {
	h.m.t.Helper()
	if _, err := h.gate.WriteString("go\n"); err != nil {
		h.m.t.Fatalf("job %s does not stand at its gate any more: %v", h.id, err)
	}
	_ = h.gate.Close()
}

// job asks for a job.
func (m *machine) job(id string) ipc.Job {
	m.t.Helper()
	api := client.Client{Socket: m.Path("/run/dispatchd/control.sock")}
	job, err := api.Job(m.t.Context(), id)
	if err != nil {
		m.t.Fatal(err)
	}
	return job
}

// running wants the job to be known as running.
func (h *held) running() {
	h.m.t.Helper()
	if got := h.m.job(h.id).State; got != ipc.Running {
		h.m.t.Errorf("job %s, which stands at its gate, is %s", h.id, got)
	}
}

// done waits for the job's end, which must be that of one run from its begin to
// its end, with nothing lost.
func (h *held) done() {
	h.m.t.Helper()
	h.m.run("dispatchctl -q wait " + h.id)
	if out := h.m.run("dispatchctl log " + h.id); out != "was told go\n" {
		h.m.t.Errorf("job %s said %q", h.id, out)
	}
	began, err := os.ReadFile(h.m.Path("/run/began"))
	if err != nil {
		h.m.t.Fatal(err)
	}
	if n := strings.Count(string(began), h.id); n != 1 {
		h.m.t.Errorf("job %s began %d times", h.id, n)
	}
}
