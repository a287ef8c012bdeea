//go:build pfsense

package pfsense

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/box"
)

const pkg = source + "/pkg"

// script runs a script of the package.
func script(env []string, name string, args ...string) (string, int) {
	cmd := exec.Command("sh", append([]string{filepath.Join(pkg, "files/usr/local", name)}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// fakeDaemon stands in for FreeBSD's daemon(8): it writes both pid files, starts
// the program again when it ends, and takes it along when it is ended itself.
const fakeDaemon = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in -P) P=$2; shift 2;; -p) p=$2; shift 2;; -[RTls]) shift 2;; -*) shift;; *) break;; esac
done
(
  trap 'kill $child; wait $child; exit 0' TERM
  while :; do "$@" & child=$!; echo $child >$p; wait $child; done
) >/dev/null 2>&1 </dev/null &
echo $! >$P
`

// The service starts once, whatever calls it, and jobs go on over a restart.
func TestService(t *testing.T) {
	needPHP(t)
	dir, err := os.MkdirTemp("/tmp", "dpf-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := at(t, dir)
	b.Client = &client.Client{Socket: ipc.RootPaths(dir).Socket()}
	b.Write("dispatchers.d/gated.toml", strings.ReplaceAll(gatedFile, "$BOX", dir))
	b.Write("daemon", fakeDaemon)
	b.Write("restapi", "#!/bin/sh\necho \"$@\" >>"+b.Path("restapi.log")+"\n")
	if err := errors.Join(os.Chmod(b.Path("daemon"), 0o755), os.Chmod(b.Path("restapi"), 0o755)); err != nil {
		t.Fatal(err)
	}
	b.gates()
	env := []string{
		"DISPATCHD_RUN=" + b.Path("service"), "DAEMON=" + b.Path("daemon"), "DISPATCHD_BIN=" + box.Programs(b.T), "DISPATCHD_ROOT=" + dir,
		"DISPATCHCTL=" + box.Program(b.T, "dispatchctl"), "DISPATCHD_RESTAPI=" + b.Path("restapi"), ipc.SocketEnv + "=" + b.Client.Socket,
	}
	rc := func(verb string, code int) string {
		t.Helper()
		out, got := script(env, "etc/rc.d/dispatchd.sh", verb)
		if got != code {
			t.Errorf("%s: exit %d, %s", verb, got, out)
		}
		return out
	}
	t.Cleanup(func() { rc("stop", 0) })
	rc("status", 1)
	rc("start", 0)
	first := b.Read("service/dispatchd.pid")
	rc("start", 0)
	if again := b.Read("service/dispatchd.pid"); again != first || b.Read("restapi.log") != "on\n" {
		t.Errorf("a second start is none: %s, %s; %q", first, again, b.Read("restapi.log"))
	}
	if out := rc("status", 0); out != "dispatchd runs as "+first {
		t.Errorf("status: %s", out)
	}
	id := b.Notify("gated", "").ID
	b.Read("up")
	rc("restart", 0)
	if again := b.Read("service/dispatchd.pid"); again == first {
		t.Error("a restart that is none")
	}
	b.Write("gate", "go\n")
	if job := b.Await(id); job.State != ipc.Succeeded || job.Attempt != 1 {
		t.Errorf("over a restart: %s %+v", job.State, job.Error)
	}
	var pids []int
	for _, name := range []string{"supervisor.pid", "dispatchd.pid"} {
		var pid int
		if _, err := fmt.Sscan(b.Read("service/"+name), &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	rc("stop", 0)
	rc("stop", 0)
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("process %d is left", pid)
		}
	}
	if left, _ := filepath.Glob(b.Path("service/*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
	rc("nonsense", 64)
}

// restapi is a place with a package that can be put on the daemon.
type restapi struct {
	*phpBox
	env []string
}

// manageFile plays the package's runner: it owns two lines of the crontab.
const manageFile = `<?php
$tab = getenv("CRONTAB");
$rest = preg_grep("/manage.php/", file($tab), PREG_GREP_INVERT);
$mine = $argv[1] === "scheduledispatchers" ? ["0 * * * * root /usr/local/pkg/RESTAPI/.resources/scripts/manage.php refreshcache A\n"] : [];
file_put_contents($tab, implode("", array_merge($rest, $mine)));
file_put_contents("$tab.log", $argv[1] . "\n", FILE_APPEND);
`

func newRestapi(t *testing.T) (*restapi, string) {
	t.Helper()
	dir, sum := nativeStandIn(t)
	r := &restapi{phpBox: at(t, t.TempDir())}
	if err := os.CopyFS(r.Path("RESTAPI"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	r.copyTree(source, "php")
	r.Write("RESTAPI/.resources/scripts/dispatch.sh", "#!/bin/sh\n# the package's own\n")
	r.Write("RESTAPI/.resources/scripts/manage.php", manageFile)
	r.Write("crontab", "1 * * * * root other\n0 * * * * root /usr/local/pkg/RESTAPI/.resources/scripts/manage.php refreshcache A\n")
	r.env = []string{"RESTAPI_DIR=" + r.Path("RESTAPI"), "DISPATCHD_PHP_DIR=" + r.Path("php"), "PHP=" + needPHP(t), "CRONTAB=" + r.Path("crontab")}
	return r, sum
}

// is holds the state of the package against what is wanted.
func (r *restapi) is(hooked, dropped, cron bool) {
	r.T.Helper()
	text := r.Read("RESTAPI/Core/Dispatcher.inc")
	own := r.Read("RESTAPI/.resources/scripts/dispatch.sh") == "#!/bin/sh\n# the package's own\n"
	tab := r.Read("crontab")
	if got := strings.Contains(text, "dispatchd: begin"); got != hooked {
		r.T.Errorf("hooked: %v", got)
	}
	if own == dropped {
		r.T.Errorf("dispatch.sh is the package's own: %v", own)
	}
	if got := strings.Contains(tab, "manage.php refreshcache A"); got != cron || !strings.Contains(tab, "root other") {
		r.T.Errorf("the crontab has\n%s", tab)
	}
	if out, _ := script(r.env, "sbin/dispatchd-restapi", "status"); strings.Contains(out, "native: installed") != hooked ||
		strings.Contains(out, "drop-in: installed") != dropped || strings.Contains(out, "schedules: cron's") != cron {
		r.T.Errorf("status says\n%s", out)
	}
}

func (r *restapi) do(verb string, env ...string) {
	r.T.Helper()
	if out, code := script(append(r.env, env...), "sbin/dispatchd-restapi", verb); code != 0 {
		r.T.Errorf("%s: exit %d, %s", verb, code, out)
	}
}

// The package is put on the daemon and back, with its cron entries, as often as
// one likes.
func TestRestapi(t *testing.T) {
	r, sum := newRestapi(t)
	accept := "DISPATCHD_ACCEPT=" + sum
	r.is(false, false, true)
	r.do("on") // its version is not known
	r.is(false, true, false)
	r.do("on")
	r.is(false, true, false)
	r.do("on", accept)
	r.is(true, false, false)
	r.do("drop-in")
	r.is(false, true, false)
	r.do("native", accept)
	r.is(true, false, false)
	r.do("off")
	r.is(false, false, true)
	r.do("off")
	r.is(false, false, true)
	if got := r.Read("crontab.log"); got != "unscheduledispatchers\nscheduledispatchers\n" {
		t.Errorf("the package was asked for %q", got)
	}
	// An update of the package brings its own files back.
	r.do("drop-in")
	r.Write("RESTAPI/.resources/scripts/dispatch.sh", "#!/bin/sh\n# the package's own\n")
	r.is(false, false, false)
	r.do("drop-in")
	r.is(false, true, false)
	r.do("off")
	r.is(false, false, true)
	if left, _ := filepath.Glob(r.Path("RESTAPI/.resources/scripts/dispatch.sh?*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
	if out, code := script(append(r.env, "RESTAPI_DIR="+t.TempDir()), "sbin/dispatchd-restapi", "on"); code != 69 {
		t.Errorf("without the package: exit %d, %s", code, out)
	}
	if _, code := script(r.env, "sbin/dispatchd-restapi", "onn"); code != 64 {
		t.Errorf("a wrong verb: exit %d", code)
	}
}

// The package's lists name what there is, its XML is well formed, its settings
// are good.
func TestPackageFiles(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(pkg, "pkg-plist"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(text)) {
		listed = append(listed, strings.TrimSpace(line))
	}
	for dir, to := range map[string]string{source + "/dispatchers.d/*.toml": "share/dispatchd/dispatchers.d/", source + "/*.php": "share/dispatchd/php/", "../php/*.php": "share/dispatchd/php/", pkg + "/files/usr/local/pkg/*": "pkg/", pkg + "/files/usr/local/sbin/*": "sbin/", pkg + "/files/usr/local/etc/rc.d/*": "etc/rc.d/"} {
		files, _ := filepath.Glob(dir)
		if len(files) == 0 {
			t.Errorf("no %s", dir)
		}
		for _, f := range files {
			if !slices.Contains(listed, to+filepath.Base(f)) {
				t.Errorf("pkg-plist lacks %s", to+filepath.Base(f))
			}
		}
	}
	for _, name := range []string{"pkg/dispatchd.xml", "share/pfSense-pkg-dispatchd/info.xml"} {
		f, err := os.Open(filepath.Join(pkg, "files/usr/local", name))
		if err != nil {
			t.Fatal(err)
		}
		menu := false
		dec := xml.NewDecoder(bufio.NewReader(f))
		for {
			token, err := dec.Token()
			if start, ok := token.(xml.StartElement); ok {
				menu = menu || start.Name.Local == "menu"
			}
			if err != nil {
				if !errors.Is(err, io.EOF) || menu {
					t.Errorf("%s: %v, a menu: %v", name, err, menu)
				}
				break
			}
		}
		_ = f.Close()
	}
	b := at(t, t.TempDir())
	b.copyTree(pkg+"/files/usr/local/etc/dispatchd", "etc")
	if s, faults := dispatchers.LoadSettings(b.Path("etc/dispatchd.toml")); len(faults) > 0 || s.PHPLoader != "lazy" {
		t.Errorf("%+v %v", s, faults)
	}
}
