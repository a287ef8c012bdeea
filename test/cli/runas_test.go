package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
)

// who prints who and where a job is.
const who = `script = 'echo "$(id -u):$(id -g):$(id -G) $(umask) $(pwd) $HOME $USER ${COLOUR-none} ${HOSTNAME-none}"'` + "\n"

// nobody is the user that has no rights anywhere.
const nobody = 65534

// A job runs as its user, with the groups that the user is in, and what else its
// definition says, whether a shim starts it or the daemon.
func TestRunAs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: jobs run as other users")
	}
	groups := filepath.Join(t.TempDir(), "group")
	text, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(groups, append(text, "\nbox-one:x:64001:nobody\nbox-two:x:64002:nobody,root\nbox-three:x:64003:\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "-m", "mount", "--bind", groups, "/etc/group").CombinedOutput(); err != nil {
		t.Skipf("no mount namespace: %v %s", err, out)
	}
	all := "umask = '0077'\nworking_directory = '/usr'\nenvironment = { COLOUR = 'blue' }\n"
	b := newBox(t, map[string]string{
		"own":     who,
		"user":    "user = 'nobody'\n" + all + who,
		"direct":  "survive_restart = false\nuser = 'nobody'\n" + all + who,
		"group":   "user = '65534'\ngroup = 'box-three'\n" + who,
		"number":  "group = '64003'\n" + who,
		"missing": "user = 'nobody-at-all'\n" + who,
	}, func(cmd *exec.Cmd) {
		args := cmd.Args
		cmd.Path, _ = exec.LookPath("unshare")
		cmd.Args = append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/group && exec "$@"`, groups}, args...)
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
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the daemon runs as another user")
	}
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
