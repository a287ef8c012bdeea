//go:build pfsense

package pfsense

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
)

// hook runs the installer of native mode on a package's directory.
func hook(t *testing.T, verb, dir string, flags ...string) (string, int) {
	t.Helper()
	argv := append([]string{"-f", filepath.Join(source, "hook.php"), "--", verb, "--package=" + dir}, flags...)
	cmd := exec.Command(needPHP(t), argv...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// hookCase installs and removes, and holds what comes out against the original.
func hookCase(t *testing.T, dir string, flags ...string) {
	t.Helper()
	file := filepath.Join(dir, "Core/Dispatcher.inc")
	original, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for _, c := range []struct{ verb, says string }{
		{"status", "not installed"},
		{"remove", "not installed"},
		{"install", "installed, version"},
		{"status", "installed, version"},
		{"install", "installed already"},
		{"remove", "removed"},
		{"install", "installed, version"},
		{"remove", "removed"},
		{"remove", "not installed"},
	} {
		out, code := hook(t, c.verb, dir, flags...)
		if code != 0 || !strings.HasPrefix(out, c.says) {
			t.Errorf("%s: exit %d, %s, want %s", c.verb, code, out, c.says)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if c.verb != "install" {
			continue
		}
		if first == nil {
			first = text
		}
		if n := bytes.Count(text, []byte("# dispatchd: begin")); n != 4 || !bytes.Equal(text, first) {
			t.Errorf("%d hooks, the same as before: %v", n, bytes.Equal(text, first))
		}
		if out, err := exec.Command(needPHP(t), "-l", file).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(text, original) {
		t.Errorf("after remove the file is another: %v", err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

// nativeStandIn is a copy of the stand-in that can be hooked, and its sum.
func nativeStandIn(t *testing.T) (dir, sum string) {
	t.Helper()
	b := at(t, t.TempDir())
	b.copyTree("testdata/native", ".")
	return b.Path("RESTAPI"), fmt.Sprintf("%x", sha256.Sum256([]byte(b.Read("RESTAPI/Core/Dispatcher.inc"))))
}

// installed puts lines of native mode that ask the box's daemon into a stand-in.
func (b *phpBox) installed(t *testing.T) (dir string) {
	t.Helper()
	dir, sum := nativeStandIn(t)
	b.phpClient()
	if out, code := hook(t, "install", dir, "--accept="+sum, "--native="+b.Path("php/Native.php")); code != 0 {
		t.Fatal(out)
	}
	return dir
}

// A version that nobody looked at is refused, and one that was is taken.
func TestHook(t *testing.T) {
	dir, sum := nativeStandIn(t)
	out, code := hook(t, "install", dir)
	if code != 78 || !strings.Contains(out, "--accept="+sum) {
		t.Errorf("unknown version: exit %d, %s", code, out)
	}
	if out, code := hook(t, "install", dir, "--accept="+strings.Repeat("0", 64)); code != 78 {
		t.Errorf("another sum: exit %d, %s", code, out)
	}
	hookCase(t, dir, "--accept="+sum)
	for _, c := range []struct {
		verb, dir string
		code      int
	}{{"install", t.TempDir(), 69}, {"instal", dir, 64}} {
		if out, code := hook(t, c.verb, c.dir); code != c.code {
			t.Errorf("%s %s: exit %d, %s", c.verb, c.dir, code, out)
		}
	}
}

// The released versions of the package are known: PFREST_SRC.
func TestHookReal(t *testing.T) {
	src := os.Getenv("PFREST_SRC")
	if src == "" {
		t.Skip("PFREST_SRC names no checkout of the REST API package")
	}
	b := at(t, t.TempDir())
	b.copyTree(filepath.Join(src, "pfSense-pkg-RESTAPI/files/usr/local/pkg/RESTAPI/Core"), "Core")
	hookCase(t, b.Dir)
}

// hooked runs PHP that has a hooked stand-in as $d.
func (b *phpBox) hooked(dir, code string) string {
	b.T.Helper()
	code = fmt.Sprintf("require %q; require %q; $d = new RESTAPI\\Core\\Dispatcher(); try { %s } catch (Error $e) { print get_class($e) . \" $e->response_id \" . $e->getCode() . ' ' . ($e->retry_after ?? '') . ' ' . $e->getMessage(); }",
		dir+"/Core/Dispatcher.inc", dir+"/Responses/errors.inc", code)
	cmd := exec.CommandContext(b.T.Context(), needPHP(b.T), "-d", "display_errors=stderr", "-r", code)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), ipc.SocketEnv+"="+b.Client.Socket)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		b.T.Fatal(err)
	}
	return string(out)
}

// The hooked methods work by the daemon, and say no as the package does.
func TestNative(t *testing.T) {
	b := newBox(t, map[string]string{
		"gated": gatedFile + "max_queue = 2\n", "ending": `php_class = "EndingDispatcher"`, "echo": `php_class = "EchoDispatcher"`,
		"needs": "script = 'x'\nrequired_packages = [\"no-such-package-at-all\"]\n",
		"wants": "script = 'x'\npackage_includes = [\"/nowhere/at.inc\"]\n",
		"bad":   "script = 'x'\n[locks]\nexclusive = [\"l:{name}\"]\n",
	})
	b.gates()
	dir := b.installed(t)
	first := b.hooked(dir, `print json_encode([$d->spawn_process(), $d->get_running_processes()]);`)
	b.Read("up")
	var n, m int
	if _, err := fmt.Sscanf(first, "checked [%d,[%d,7]]", &n, &m); err != nil || n != m || n < 1<<30 || n > 1<<31-1 {
		t.Errorf("spawn and what runs: %s", first)
	}
	if jobs := b.jobs("gated"); len(jobs) != 1 || len(jobs[0].Arguments) > 0 {
		t.Errorf("jobs %+v", jobs)
	}
	second := b.hooked(dir, `$n = $d->spawn_process(id: "it's \"x\" ü", list: [1]); $r = $d->get_running_processes(); print count($r) . ($r[1] === $n ? " in order" : json_encode($r)); $d->spawn_process(third: 1);`)
	if ok, _ := regexp.MatchString("^checked 3 in orderchecked RESTAPI.Responses.ServiceUnavailableError DISPATCHER_TOO_MANY_QUEUED_PROCESSES 503 [1-9][0-9]* Dispatcher `gated`: ", second); !ok {
		t.Errorf("a full queue: %s", second)
	}
	if jobs := b.jobs("gated"); string(jobs[0].Arguments) != `{"id":"it's \"x\" ü","list":[1]}` {
		t.Errorf("arguments %s", jobs[0].Arguments)
	}
	if got := b.hooked(dir, `$d->kill_running_processes(); print count($d->get_running_processes());`); got != "killed the old ones1" {
		t.Errorf("kill: %s", got)
	}
	for code, want := range map[string]string{
		`$d->short_name = "needs"; $d->spawn_process();`:                                                           `checked RESTAPI\Responses\FailedDependencyError DISPATCHER_MISSING_REQUIRED_PACKAGE 424 `,
		`$d->short_name = "wants"; $d->spawn_process();`:                                                           `checked RESTAPI\Responses\FailedDependencyError DISPATCHER_WITH_FAILED_INCLUDE 424 `,
		`$d->short_name = "bad"; $d->spawn_process();`:                                                             `checked RESTAPI\Responses\ServerError DISPATCHER_FAILED_TO_SPAWN_PROCESS 500 `,
		`$d->short_name = "nosuch"; $d->spawn_process();`:                                                          `checked the old way `,
		`$d->short_name = "echo"; $d->async = false; print $d->spawn_process(a: 1) === getmypid() ? "done" : "?";`: `checked done`,
		`$d->short_name = "ending"; $d->async = false; $d->spawn_process(how: "problem", code: 500);`:              `checked RESTAPI\Responses\ServerError DISPATCHER_FAILED_TO_SPAWN_PROCESS 500  Dispatcher ` + "`ending`" + ` failed: exit status 70: refused: 500`,
		`eval('namespace RESTAPI\Core; class Problem extends \Error { public function __construct($message, public $response_id) { parent::__construct($message); } }'); $d->short_name = "ending"; $d->async = false; $d->spawn_process(how: "problem", code: 424);`: `checked RESTAPI\Core\Problem ENDING_PROBLEM 0  refused: 424`,
		`putenv("DISPATCHD_SOCKET=` + b.Path("nowhere/x.sock") + `"); print json_encode($d->get_running_processes()); $d->spawn_process();`:                                                                                                                           `[7]checked the old way `,
	} {
		if got := b.hooked(dir, code); !strings.HasPrefix(got, want) {
			t.Errorf("%s\ngives %s\nwant  %s", code, got, want)
		}
	}
	for _, j := range b.jobs("gated") {
		if j.State != ipc.Canceled {
			t.Errorf("%s: %s after kill_running_processes", j.ID, j.State)
		}
	}
}
