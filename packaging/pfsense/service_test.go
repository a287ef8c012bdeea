//go:build pfsense

package pfsense

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/box"
)

// fakeDaemon stands in for FreeBSD's daemon(8): it writes both pid files, starts
// the program again when it ends, and takes it along when it is ended itself.
// With $HASTY it passes the signal on and is gone, as versions before 14 are.
const fakeDaemon = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in -P) P=$2; shift 2;; -p) p=$2; shift 2;; -[RTls]) shift 2;; -*) shift;; *) break;; esac
done
(
  trap 'kill $child; [ -n "$HASTY" ] || wait $child; exit 0' TERM
  while :; do "$@" & child=$!; echo $child >$p; wait $child; done
) >/dev/null 2>&1 </dev/null &
echo $! >$P
`

// service is a place for the service script, with a root of its own.
type service struct {
	*phpBox
	env []string
}

func newService(t *testing.T) *service {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "dpf-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &service{phpBox: at(t, dir)}
	s.Client = &client.Client{Socket: ipc.RootPaths(dir).Socket()}
	s.Write("dispatchers.d/gated.toml", strings.ReplaceAll(gatedFile, "$BOX", dir))
	s.program("daemon", fakeDaemon)
	s.program("restapi", "#!/bin/sh\necho \"$@\" >>"+s.Path("restapi.log")+"\n")
	s.env = []string{
		"DISPATCHD_RUN=" + s.Path("service"), "DAEMON=" + s.Path("daemon"), "DISPATCHD_BIN=" + box.Programs(t), "DISPATCHD_ROOT=" + dir,
		"DISPATCHCTL=" + box.Program(t, "dispatchctl"), "DISPATCHD_RESTAPI=" + s.Path("restapi"), ipc.SocketEnv + "=" + s.Client.Socket,
	}
	t.Cleanup(func() { s.rc("stop", 0) })
	return s
}

func (s *service) rc(verb string, code int) string {
	s.T.Helper()
	out, got := script(s.env, "etc/rc.d/dispatchd.sh", verb)
	if got != code {
		s.T.Errorf("%s: exit %d, %s", verb, got, out)
	}
	return out
}

// pid is the process that a pid file names.
func (s *service) pid(name string) int {
	s.T.Helper()
	var pid int
	if _, err := fmt.Sscan(s.Read("service/"+name), &pid); err != nil {
		s.T.Fatal(err)
	}
	return pid
}

// serves reports whether a daemon has the state directory.
func (s *service) serves() bool {
	_, err := s.Client.Status(s.T.Context())
	return err == nil
}

// lives reports whether a process that is not our child runs: one that has ended may
// still wait for its parent to ask.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, found := strings.Cut(string(stat), ") ")
	return err == nil && found && state[0] != 'Z'
}

// gone waits for the end of such a process.
func gone(pid int) {
	for lives(pid) {
		<-time.After(10 * time.Millisecond)
	}
}

// The service starts once, whatever calls it, and jobs go on over a restart. Each
// start looks that the REST API is on the daemon.
func TestService(t *testing.T) {
	s := newService(t)
	s.gates()
	s.rc("status", 1)
	s.rc("start", 0)
	first := s.Read("service/dispatchd.pid")
	s.rc("start", 0)
	if again := s.Read("service/dispatchd.pid"); again != first || s.Read("restapi.log") != "on\non\n" {
		t.Errorf("a second start starts none: %s, %s; %q", first, again, s.Read("restapi.log"))
	}
	if out := s.rc("status", 0); out != "dispatchd runs as "+first {
		t.Errorf("status: %s", out)
	}
	id := s.Notify("gated", "").ID
	s.Read("up")
	s.rc("restart", 0)
	if again := s.Read("service/dispatchd.pid"); again == first {
		t.Error("a restart that is none")
	}
	s.Write("gate", "go\n")
	if job := s.Await(id); job.State != ipc.Succeeded || job.Attempt != 1 {
		t.Errorf("over a restart: %s %+v", job.State, job.Error)
	}
	pids := []int{s.pid("supervisor.pid"), s.pid("dispatchd.pid")}
	s.rc("stop", 0)
	s.rc("stop", 0)
	for _, pid := range pids {
		if lives(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if left, _ := filepath.Glob(s.Path("service/*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
	s.rc("nonsense", 64)
}

// A daemon whose supervisor was killed is the daemon: no other is started beside
// it, and a stop stops it.
func TestServiceOrphan(t *testing.T) {
	s := newService(t)
	s.rc("start", 0)
	supervisor, daemon := s.pid("supervisor.pid"), s.pid("dispatchd.pid")
	if err := killHard(supervisor); err != nil {
		t.Fatal(err)
	}
	gone(supervisor)
	s.rc("start", 0)
	if got := s.Read("service/supervisor.pid"); got != fmt.Sprintln(supervisor) || !s.serves() {
		t.Errorf("a start put supervisor %s beside the daemon", got)
	}
	if out := s.rc("status", 0); !strings.HasPrefix(out, fmt.Sprintf("dispatchd runs as %d\n", daemon)) {
		t.Errorf("status: %s", out)
	}
	s.rc("stop", 0)
	if lives(daemon) || s.serves() {
		t.Error("the daemon is left")
	}
}

// Pid files that name strangers are not believed: the daemon starts, and nobody else
// is ended.
func TestServiceStrangers(t *testing.T) {
	for name, argv := range map[string][]string{
		"any":                    {"sleep", "600"},
		"another's daemon(8)":    {"sh", "-c", "sleep 600 & wait", "daemon: nginx[12]"},
		"another root's":         {"sh", "daemon", "-c", "-P", "/elsewhere/supervisor.pid", "-p", "x", "dispatchd"},
		"one that talks of it":   {"sh", "-c", "sleep 600 & wait", "dispatchd", "daemon"},
		"one with its arguments": {"sh", "-c", "sleep 600 & wait", "x", "-P", "$RUN/supervisor.pid", "dispatchd"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.Write("elsewhere/daemon", "sleep 600 & wait\n")
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "$RUN", s.Path("service"))
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir = s.Path("elsewhere")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
			for _, file := range []string{"supervisor.pid", "dispatchd.pid"} {
				s.Write("service/"+file, fmt.Sprintln(cmd.Process.Pid))
			}
			s.rc("stop", 0)
			s.Write("service/supervisor.pid", fmt.Sprintln(cmd.Process.Pid))
			s.rc("start", 0)
			if !s.serves() {
				t.Error("nothing was started")
			}
			s.Write("service/supervisor.pid", fmt.Sprintln(cmd.Process.Pid))
			s.Write("service/dispatchd.pid", fmt.Sprintln(cmd.Process.Pid))
			s.rc("stop", 0)
			if s.serves() {
				t.Error("the daemon is left")
			}
			if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the stranger was ended: %v", err)
			}
		})
	}
}

// A stop returns when the daemon is gone, also where daemon(8) is gone before it.
func TestServiceHasty(t *testing.T) {
	s := newService(t)
	s.env = append(s.env, "HASTY=yes")
	s.Write("dispatchers.d/direct.toml", "script = 'trap \"sleep 0.5; exit 0\" TERM; echo up >"+s.Path("up")+"; sleep 600 & wait'\nsurvive_restart = false\n")
	s.gates()
	s.rc("start", 0)
	daemon := s.pid("dispatchd.pid")
	s.Notify("direct", "")
	s.Read("up")
	s.rc("stop", 0)
	if lives(daemon) {
		t.Error("the daemon is left")
	}
}

// A run directory that somebody else made, or may write to, is refused, and nothing
// is started in it.
func TestServiceForeignDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give directories away")
	}
	for name, make := range map[string]func(dir string) error{
		"another's":        func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 65534, 65534)) },
		"others may write": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777)) },
		"a link":           func(dir string) error { return errors.Join(os.Mkdir(dir+".at", 0o755), os.Symlink(dir+".at", dir)) },
		"a file":           func(dir string) error { return os.WriteFile(dir, nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			if err := make(s.Path("service")); err != nil {
				t.Fatal(err)
			}
			if out := s.rc("start", 1); !strings.Contains(out, "no directory of ours alone") || s.serves() {
				t.Errorf("start: %s", out)
			}
			if _, err := os.Stat(s.Path("restapi.log")); err == nil {
				t.Error("the REST API was put on a daemon that does not start")
			}
		})
	}
}

// What pfSense does with our package's scripts: its copy of config.xml is not changed
// behind its back, the REST API gets its own back before the service goes, and each
// phase reaches pfSense.
func TestPackageScripts(t *testing.T) {
	b := at(t, t.TempDir())
	for _, name := range []string{"php", "restapi", "rc"} {
		b.program(name, "#!/bin/sh\necho "+name+" \"$@\" >>"+b.Path("log")+"\n")
	}
	paths := strings.NewReplacer("/usr/local/bin/php", b.Path("php"), "/usr/local/sbin/dispatchd-restapi", b.Path("restapi"), "/usr/local/etc/rc.d/dispatchd.sh", b.Path("rc"), "%%PORTNAME%%", "PORT")
	for _, c := range []struct{ file, phase, env, want string }{
		{"pkg-install.in", "PRE-INSTALL", "", ""},
		{"pkg-install.in", "POST-INSTALL", "", "php -f /etc/rc.packages PORT POST-INSTALL\nrc start\n"},
		{"pkg-deinstall.in", "DEINSTALL", "", "restapi off\nphp -f /etc/rc.packages PORT DEINSTALL\n"},
		{"pkg-deinstall.in", "POST-DEINSTALL", "", "php -f /etc/rc.packages PORT POST-DEINSTALL\n"},
		{"pkg-deinstall.in", "DEINSTALL", "PKG_UPGRADE=true", "php -f /etc/rc.packages PORT DEINSTALL\n"},
	} {
		text, err := os.ReadFile(filepath.Join(pkg, c.file))
		if err != nil {
			t.Fatal(err)
		}
		b.Write("log", "")
		cmd := exec.Command("sh", "-c", paths.Replace(string(text)), "sh", "dispatchd-1", c.phase)
		cmd.Env = append(os.Environ(), c.env)
		if out, err := cmd.CombinedOutput(); err != nil || b.Read("log") != c.want {
			t.Errorf("%s %s: %v %s\n%s", c.file, c.phase, err, out, b.Read("log"))
		}
	}
	for _, name := range []string{"dispatchd.inc", "dispatchd.xml"} {
		text, err := os.ReadFile(filepath.Join(pkg, "files/usr/local/pkg", name))
		if err != nil || strings.Contains(string(text), "exec") && name == "dispatchd.inc" || strings.Contains(string(text), "custom_php") {
			t.Errorf("%s runs something within pfSense's transaction: %v", name, err)
		}
	}
}
