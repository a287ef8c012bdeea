//go:build pfsense

package pfsense

import (
	"bufio"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dispatchd/dispatchers"
)

const pkg = source + "/pkg"

// script runs a script of the package.
func script(env []string, name string, args ...string) (string, int) {
	cmd := exec.Command("sh", append([]string{filepath.Join(pkg, "files/usr/local", name)}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
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
	r.Write("RESTAPI/.resources/scripts/dispatch.sh", ownScript)
	r.Write("RESTAPI/.resources/scripts/manage.php", manageFile)
	r.Write("crontab", "1 * * * * root other\n0 * * * * root /usr/local/pkg/RESTAPI/.resources/scripts/manage.php refreshcache A\n")
	r.env = []string{"RESTAPI_DIR=" + r.Path("RESTAPI"), "DISPATCHD_PHP_DIR=" + r.Path("php"), "PHP=" + needPHP(t), "CRONTAB=" + r.Path("crontab"), "DISPATCHD_CHOSEN=" + r.Path("none/mode")}
	return r, sum
}

// is holds the state of the package against what is wanted.
func (r *restapi) is(hooked, dropped, cron bool) {
	r.T.Helper()
	text := r.Read("RESTAPI/Core/Dispatcher.inc")
	own := r.Read("RESTAPI/.resources/scripts/dispatch.sh") == ownScript
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

// ownScript is the stand-in's dispatch.sh.
const ownScript = "#!/bin/sh\n# the package's own\n"

// The package is put on the daemon and back, with its cron entries, as often as
// one likes.
func TestRestapi(t *testing.T) {
	r, sum := newRestapi(t)
	script2 := fmt.Sprintf("%x", sha256.Sum256([]byte(ownScript)))
	accept, both := "DISPATCHD_ACCEPT="+script2, "DISPATCHD_ACCEPT="+sum+","+script2
	r.is(false, false, true)
	r.do("on", accept) // the version of its Dispatcher is not known
	r.is(false, true, false)
	r.do("on")
	r.is(false, true, false)
	r.do("on", both)
	r.is(true, false, false)
	r.do("drop-in", accept)
	r.is(false, true, false)
	r.do("native", both)
	r.is(true, false, false)
	r.do("off")
	r.is(false, false, true)
	r.do("off")
	r.is(false, false, true)
	if got := r.Read("crontab.log"); got != "unscheduledispatchers\nscheduledispatchers\n" {
		t.Errorf("the package was asked for %q", got)
	}
	// An update of the package brings its own files back.
	r.do("drop-in", accept)
	r.Write("RESTAPI/.resources/scripts/dispatch.sh", ownScript)
	r.is(false, false, false)
	r.do("drop-in", accept)
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

// What is not known is not touched, and syslog says so.
func TestRestapiUnknown(t *testing.T) {
	r, _ := newRestapi(t)
	r.program("bin/logger", "#!/bin/sh\necho \"$@\" >>"+r.Path("syslog")+"\n")
	env := append(r.env, "PATH="+r.Path("bin")+":"+os.Getenv("PATH"))
	for _, verb := range []string{"on", "drop-in", "native"} {
		if out, code := script(env, "sbin/dispatchd-restapi", verb); code != 78 {
			t.Errorf("%s: exit %d, %s", verb, code, out)
		}
		r.is(false, false, true)
	}
	if said := r.Read("syslog"); !strings.Contains(said, "dispatch.sh is of a version that is not known; nothing was changed") {
		t.Errorf("syslog: %s", said)
	}
}

// What was chosen by hand outlives the service's starts; the service alone chooses
// what is known.
func TestRestapiChosen(t *testing.T) {
	r, sum := newRestapi(t)
	r.Write("etc/README", "")
	both := "DISPATCHD_ACCEPT=" + sum + "," + fmt.Sprintf("%x", sha256.Sum256([]byte(ownScript)))
	r.env = append(r.env, "DISPATCHD_CHOSEN="+r.Path("etc/restapi.mode"), both)
	const service = "DISPATCHD_SERVICE=yes"
	r.do("on", service)
	r.is(true, false, false)
	r.do("drop-in")
	r.do("on", service)
	r.is(false, true, false)
	r.do("off")
	r.do("on", service)
	r.is(false, false, true)
	r.do("on")
	r.do("on", service)
	r.is(true, false, false)
}

// Without the package off has nothing to give back, takes our lines out of what was
// left of it, and says what that is.
func TestRestapiGone(t *testing.T) {
	r, sum := newRestapi(t)
	r.do("on", "DISPATCHD_ACCEPT="+sum)
	r.is(true, false, false)
	if err := os.RemoveAll(r.Path("RESTAPI/.resources")); err != nil { // pkg keeps the file that was changed
		t.Fatal(err)
	}
	out, code := script(r.env, "sbin/dispatchd-restapi", "off")
	if code != 0 || !strings.Contains(out, "left of it: "+r.Path("RESTAPI/Core/Dispatcher.inc")) || strings.Contains(r.Read("RESTAPI/Core/Dispatcher.inc"), "dispatchd") {
		t.Errorf("exit %d, %s", code, out)
	}
	if err := os.RemoveAll(r.Path("RESTAPI")); err != nil {
		t.Fatal(err)
	}
	if out, code := script(r.env, "sbin/dispatchd-restapi", "off"); code != 0 {
		t.Errorf("gone: exit %d, %s", code, out)
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
	catalog := dispatchers.Load(dispatchers.Options{Dirs: []string{pkg + "/files/usr/local/share/dispatchd/dispatchers.d"}, TrustUID: os.Geteuid(), SkipOwnership: true})
	if s := catalog.Specs["restapi-hooks"]; len(catalog.Faults) > 0 || s == nil || !slices.Contains(listed, "share/dispatchd/dispatchers.d/restapi-hooks.toml") {
		t.Errorf("%+v %v", s, catalog.Faults)
	}
	b := at(t, t.TempDir())
	b.copyTree(pkg+"/files/usr/local/etc/dispatchd", "etc")
	if s, faults := dispatchers.LoadSettings(b.Path("etc/dispatchd.toml")); len(faults) > 0 || s.PHPLoader != "lazy" {
		t.Errorf("%+v %v", s, faults)
	}
}
