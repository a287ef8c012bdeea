package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/ipc/peer"
	"dispatchd/test/box"
)

// who prints who and where a job is.
const who = `script = 'echo "$(id -u):$(id -g):$(id -G) $(umask) $(pwd) $HOME $USER ${COLOUR-none} ${HOSTNAME-none}"'` + "\n"

// nobody is the user that has no rights anywhere.
const nobody = 65534

// groups is a database of groups that one daemon sees in the place of the system's.
type groups struct {
	t    *testing.T
	path string
	base []byte
}

// newGroups makes one of the system's and these lines.
func newGroups(t *testing.T, lines ...string) *groups {
	t.Helper()
	base, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	g := &groups{t: t, path: filepath.Join(t.TempDir(), "group"), base: base}
	g.set(lines...)
	if out, err := exec.Command("unshare", "-m", "mount", "--bind", g.path, "/etc/group").CombinedOutput(); err != nil {
		t.Skipf("no mount namespace: %v %s", err, out)
	}
	return g
}

// set changes the lines behind the system's. The file stays the same one: it is
// mounted.
func (g *groups) set(lines ...string) {
	g.t.Helper()
	text := string(g.base) + "\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(g.path, []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// daemon has a daemon see it.
func (g *groups) daemon(cmd *exec.Cmd) {
	args := cmd.Args
	cmd.Path, _ = exec.LookPath("unshare")
	cmd.Args = append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/group && exec "$@"`, g.path}, args...)
}

// A group that is revoked while the job before runs is not given to the next one,
// whether a supervisor starts it or the daemon.
func TestGroupRevoked(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: jobs run as other users")
	}
	g := newGroups(t)
	dir, err := os.MkdirTemp("/tmp", "gate-") // that nobody can reach
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	up, gate := fifo(t, dir+"/up"), fifo(t, dir+"/gate")
	script := fmt.Sprintf("user = 'nobody'\nscript = 'id -G; test \"${DISPATCHD_ARG_N-}\" || { echo up > %s/up; read -r _ < %s/gate; }'\n", dir, dir)
	b := newBox(t, map[string]string{"shim": script, "direct": "survive_restart = false\n" + script}, g.daemon)
	for _, name := range []string{"shim", "direct"} {
		g.set("box-one:x:64001:nobody")
		// Both are queued before the first one starts.
		pause(t, b, name, true)
		first, second := b.Notify(name, "").ID, b.Notify(name, `{"n":2}`).ID
		pause(t, b, name, false)
		if _, err := up.Read(make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		g.set()
		if _, err := gate.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
		b.Await(first)
		b.Await(second)
		if got := b.Log(first); got != "65534 64001\n" {
			t.Errorf("%s: the first job has the groups %q", name, got)
		}
		if got := b.Log(second); got != "65534\n" {
			t.Errorf("%s: the next job has the groups %q", name, got)
		}
	}
}

// pause pauses a dispatcher, or lets it go on.
func pause(t *testing.T, b *box.Box, name string, on bool) {
	t.Helper()
	if _, err := b.Client.Pause(t.Context(), name, on); err != nil {
		t.Fatal(err)
	}
}

// fifo makes a named pipe that everybody may use. It is open for both ends, so that
// nobody waits for the other to open it.
func fifo(t *testing.T, path string) *os.File {
	t.Helper()
	if err := errors.Join(syscall.Mkfifo(path, 0o600), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// A job runs as its user, with the groups that the user is in, and what else its
// definition says, whether a shim starts it or the daemon.
func TestRunAs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: jobs run as other users")
	}
	groups := newGroups(t, "box-one:x:64001:nobody", "box-two:x:64002:nobody,root", "box-three:x:64003:")
	all := "umask = '0077'\nworking_directory = '/usr'\nenvironment = { COLOUR = 'blue' }\n"
	b := newBox(t, map[string]string{
		"own":     who,
		"user":    "user = 'nobody'\n" + all + who,
		"direct":  "survive_restart = false\nuser = 'nobody'\n" + all + who,
		"group":   "user = '65534'\ngroup = 'box-three'\n" + who,
		"number":  "group = '64003'\n" + who,
		"missing": "user = 'nobody-at-all'\n" + who,
	}, func(cmd *exec.Cmd) {
		groups.daemon(cmd)
		cmd.Env = append(os.Environ(), "COLOUR=red", "HOSTNAME=box")
	})
	for name, want := range map[string]string{
		"own":    "0:0:",
		"user":   "65534:65534:65534 64001 64002 0077 /usr /nonexistent nobody blue none",
		"direct": "65534:65534:65534 64001 64002 0077 /usr /nonexistent nobody blue none",
		"group":  "65534:64003:64003 64001 64002 65534 0022 / /nonexistent nobody none none",
		"number": "0:64003:",
	} {
		job := b.Await(b.Notify(name, "").ID)
		if got := b.Log(job.ID); job.State != ipc.Succeeded || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, %q, want %q", name, job.State, got, want)
		}
	}
	job := b.Await(b.Notify("missing", "").ID)
	if job.State != ipc.Failed || job.Error == nil || !strings.Contains(job.Error.Message, "nobody-at-all") {
		t.Errorf("a user that is none: %+v", job)
	}
	if d, err := b.Client.Dispatcher(t.Context(), "missing"); err != nil || len(d.Problems) == 0 {
		t.Errorf("its next run is no problem: %+v, %v", d, err)
	}
}

// A daemon that may not change user says so where it reads the definition, and
// runs what is its own.
func TestMayNotChangeUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the daemon runs as another user")
	}
	t.Setenv(peer.ServerUserEnv, strconv.Itoa(nobody)) // root asks, and trusts no daemon of others unless told
	b := newBox(t, map[string]string{
		"root":  "description = 'x'\nuser = 'root'\n" + who,
		"group": "group = 'root'\n" + who,
		"own":   "user = 'nobody'\ngroup = 'nogroup'\n" + who,
	}, func(cmd *exec.Cmd) {
		root := cmd.Args[2]
		if err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, nobody, nobody)
		}); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root, 0o755); err != nil { // it was made for one user alone
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	})
	job := b.Await(b.Notify("own", "").ID)
	if got := b.Log(job.ID); job.State != ipc.Succeeded || !strings.HasPrefix(got, "65534:65534:65534 ") {
		t.Errorf("own: %s, %q", job.State, got)
	}
	for name, at := range map[string]string{"root": "root.toml:2:8: user: ", "group": "group.toml:1:9: group: "} {
		d, err := b.Client.Dispatcher(t.Context(), name)
		if err != nil || d.State != ipc.DispatcherDisabled || !strings.Contains(d.Reason, at+"the daemon runs as user 65534 and may not run a job as another user or group (start the daemon as root") {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}
