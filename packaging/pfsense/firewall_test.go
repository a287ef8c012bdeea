//go:build pfsense

package pfsense

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/box"
)

// PFBOX is a program that runs a command where the unmodified REST API package
// lies at its real paths over stub functions of pfSense:
//
//	PFBOX_SRC=CHECKOUT [PFBOX_DISPATCH=FILE] PFBOX_BIN=DIR $PFBOX -f -d STATE CMD...
//
// STATE holds /tmp, /var/run and /var/log of the box and outlives the call; its
// log/pfstub.jsonl has a line for the begin and the end of each slow call.

// firewall is one STATE, with our daemon in it.
type firewall struct {
	t      *testing.T
	state  string
	src    string
	bin    string
	dropIn bool // our dispatch.sh lies over the package's
	client *client.Client
}

// needFirewall gives the checkout of the package, or skips.
func needFirewall(t *testing.T) string {
	t.Helper()
	needPHP(t)
	src := os.Getenv("PFREST_SRC")
	if src == "" || os.Getenv("PFBOX") == "" {
		t.Skip("PFREST_SRC names no checkout of the REST API package, or PFBOX no program to run it in")
	}
	return src
}

// newFirewall makes a state with the definitions that are shipped. env is shell
// text that each PHP of a job reads first.
func newFirewall(t *testing.T, loader, env string) *firewall {
	t.Helper()
	src := needFirewall(t)
	state, err := os.MkdirTemp("/tmp", "pfb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(state) })
	p := &firewall{t: t, state: state, src: whole(t, src), dropIn: true}
	p.client = &client.Client{Socket: p.path("tmp/dd/run/control.sock")}
	b := at(t, p.path("tmp/dd"))
	b.copyTree(source, "php")
	p.definitions(b)
	p.programs()
	b.Write("lacking.php", lacking)
	b.Write("env", env)
	// A job's environment is small: where PHP finds its settings is told here.
	b.program("phpwrap", "#!/bin/sh\nexport PHP_INI_SCAN_DIR=/usr/local/etc/php.d PFSTUB_LOG=/var/log/pfstub.jsonl\n. /tmp/dd/env\nexec /usr/bin/php -d auto_prepend_file=/tmp/dd/lacking.php \"$@\"\n")
	b.Write("dispatchd.toml", fmt.Sprintf("php = \"/tmp/dd/phpwrap\"\nphp_bridge = \"/tmp/dd/php/bridge.php\"\nphp_loader = %q\n", loader))
	if err := os.Chmod(p.path("tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return p
}

// lacking is PHP that has what old versions of the package want and the box has
// not: functions of pfSense.
const lacking = `<?php
if (!function_exists('array_path_enabled')) {
    function array_path_enabled($array, $path, $key = 'enable') {
        foreach (array_filter(explode('/', $path), 'strlen') as $part) { $array = $array[$part] ?? null; }
        return isset($array[$key]);
    }
}
if (!function_exists('array_set_path')) {
    function array_set_path(&$array, $path, $value) {
        foreach (array_filter(explode('/', $path), 'strlen') as $part) { $array = &$array[$part]; }
        return $array = $value;
    }
    function array_del_path(&$array, $path) {
        $parts = explode('/', trim($path, '/'));
        $last = array_pop($parts);
        foreach ($parts as $part) { $array = &$array[$part]; }
        unset($array[$last]);
    }
}
if (!function_exists('get_mbuf')) { function get_mbuf(&$text, &$usage) {} }
$constant = ['get_pfstate' => '1/1', 'is_package_installed' => false, 'system_identify_specific_platform' => ['name' => '', 'descr' => ''],
    'get_bios_info' => [], 'get_load_average' => '0, 0, 0', 'get_mounted_filesystems' => []];
$one = ['get_single_sysctl', 'get_temp', 'get_uptime', 'mem_usage', 'swap_usage', 'system_get_serial', 'system_get_uniqueid'];
foreach ($constant + array_fill_keys($one, '1') as $name => $value) {
    if (!function_exists($name)) { eval("function $name(...\$a) { return " . var_export($value, true) . "; }"); }
}
`

// whole gives a checkout what a built package has beside it: a copy, because a
// checkout need not be ours to write.
func whole(t *testing.T, src string) string {
	t.Helper()
	const resources = "pfSense-pkg-RESTAPI/files/usr/local/pkg/RESTAPI/.resources"
	if _, err := os.Stat(filepath.Join(src, resources, "vendor")); err == nil {
		return src
	}
	b := at(t, t.TempDir())
	b.copyTree(filepath.Join(src, "pfSense-pkg-RESTAPI", "files"), "pfSense-pkg-RESTAPI/files")
	b.Write(resources+"/vendor/README", "")
	for name := range strings.FieldsSeq("JWT JWK Key CachedKeySet JWTExceptionWithPayloadInterface ExpiredException SignatureInvalidException BeforeValidException") {
		b.Write(resources+"/includes/firebase/php-jwt/src/"+name+".php", lacking)
	}
	return b.Dir
}

// hook puts the box's copy of the package on the daemon.
func (p *firewall) hook() {
	p.t.Helper()
	const files = "pfSense-pkg-RESTAPI/files"
	b := at(p.t, p.t.TempDir())
	b.copyTree(filepath.Join(p.src, files), files)
	p.src = b.Dir
	at(p.t, p.path("tmp/dd")).phpClient()
	if out, code := hook(p.t, "install", b.Path(files+"/usr/local/pkg/RESTAPI"), "--native=/tmp/dd/php/Native.php"); code != 0 {
		p.t.Fatal(out)
	}
}

// programs is a directory with our programs, and a curl that needs no network.
func (p *firewall) programs() {
	p.t.Helper()
	b := at(p.t, p.t.TempDir())
	p.bin = b.Dir
	b.Write("curl", "#!/bin/sh\necho '[{\"tag_name\":\"v2.10.0\",\"name\":\"v2.10.0\",\"assets\":[]}]'\n")
	for _, name := range []string{"dispatchd", "dispatchctl", "dispatch-notify"} {
		if err := os.Symlink(box.Program(p.t, name), b.Path(name)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// definitions copies what is shipped. Beside it lies where the box has the
// files of packages, and that its packages are in no database.
func (p *firewall) definitions(b *phpBox) {
	b.copyTree(filepath.Join(source, "dispatchers.d"), "dispatchers.d")
	for name, s := range shipped(p.t) {
		includes, _ := json.Marshal(s.PackageIncludes)
		text := strings.ReplaceAll(string(includes), "/usr/local/pkg/", "/mnt/stubs/etc/inc/")
		if s.PackageIncludes != nil {
			b.Write("dispatchers.d/"+name+".d/box.toml", "required_packages = []\npackage_includes = "+text+"\n")
		}
	}
}

func (p *firewall) path(name string) string { return filepath.Join(p.state, name) }

// in makes a command that runs in the box.
func (p *firewall) in(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Getenv("PFBOX"), append([]string{"-f", "-d", p.state}, argv...)...)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "PFBOX_SRC="+p.src, "PFBOX_BIN="+p.bin, ipc.SocketEnv+"=/tmp/dd/run/control.sock")
	if p.dropIn {
		script, _ := filepath.Abs(filepath.Join(source, "dispatch.sh"))
		cmd.Env = append(cmd.Env, "PFBOX_DISPATCH="+script)
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// run runs a command in the box and gives all that it prints.
func (p *firewall) run(env []string, argv ...string) (string, error) {
	p.t.Helper()
	ctx := p.t.Context()
	// A file and no pipe: what goes on in the background has it too.
	file, err := os.CreateTemp(p.t.TempDir(), "out")
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	cmd := p.in(ctx, env, argv...)
	cmd.Stdout, cmd.Stderr = file, file
	failed := cmd.Run()
	out, err := os.ReadFile(file.Name())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(out), failed
}

// start starts the daemon in the box, and ends it with the test.
func (p *firewall) start() {
	p.t.Helper()
	daemon, err := box.Begin(p.in(context.WithoutCancel(p.t.Context()), nil, "dispatchd", "--root", "/tmp/dd"))
	if err == nil {
		err = daemon.Up()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	b := p.at(p.t)
	b.Life = daemon
	p.t.Cleanup(b.End)
	p.settle()
}

// until waits for what nobody tells: that a file comes, grows or goes.
func (p *firewall) until(holds func() bool) {
	for !holds() {
		<-time.After(10 * time.Millisecond)
	}
}

// define writes a definition, or a part of one, and has the daemon read it.
func (p *firewall) define(name, text string) {
	p.t.Helper()
	at(p.t, p.path("tmp/dd")).Write("dispatchers.d/"+name+".toml", text)
	if out, err := p.run(nil, "dispatchctl", "reload"); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
}

// settle waits until nothing runs: no entry of the package's, and no job.
// Caches are filled at the start.
func (p *firewall) settle() {
	p.t.Helper()
	p.until(func() bool { return len(p.leftLocks()) == 0 })
	for _, j := range p.jobs("") {
		if _, err := p.client.Await(p.t.Context(), j.ID); err != nil {
			p.t.Fatal(err)
		}
	}
}

// at is the box as the tests of this machine's own daemon have it.
func (p *firewall) at(t *testing.T) *phpBox {
	return &phpBox{&box.Box{T: t, Dir: p.state, Client: p.client}}
}

// jobs are all jobs of a dispatcher, newest first; of all dispatchers for "".
func (p *firewall) jobs(name string) []ipc.Job {
	p.t.Helper()
	list, err := p.client.Jobs(p.t.Context(), ipc.JobFilter{Dispatcher: name, Limit: 1000, Fields: []string{"arguments", "result"}})
	if err != nil {
		p.t.Fatal(err)
	}
	return list
}

// call is one slow call of pfSense: a line of the stubs.
type call struct {
	At  float64 `json:"t"`
	PID int     `json:"pid"`
	Fn  string  `json:"fn"`
	Ev  string  `json:"ev"`
}

// calls are the calls of some functions, in order of time.
func (p *firewall) calls(names ...string) []call {
	p.t.Helper()
	text, err := os.ReadFile(p.path("log/pfstub.jsonl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // nothing was called yet
		p.t.Fatal(err)
	}
	var list []call
	for line := range strings.Lines(string(text)) {
		var c call
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			p.t.Fatalf("%v in %s", err, line)
		}
		if slices.Contains(names, c.Fn) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b call) int { return cmp.Compare(a.At, b.At) })
	return list
}

// tally counts how often a call began while another was under way, and how
// many ended.
func tally(calls []call) (overlaps, ends int) {
	running := map[int]bool{}
	for _, c := range calls {
		switch c.Ev {
		case "begin":
			if len(running) > 0 {
				overlaps++
			}
			running[c.PID] = true
		case "end":
			ends++
			delete(running, c.PID)
		}
	}
	return overlaps, ends
}

// leftLocks are lock and pid files of the original that lie about.
func (p *firewall) leftLocks() []string {
	var left []string
	for _, pattern := range []string{"tmp/*.lock", "tmp/*.pid"} {
		found, _ := filepath.Glob(p.path(pattern))
		left = append(left, found...)
	}
	return left
}

// begun waits for the next call of the filter's reload behind the first calls,
// and gives its process.
func (p *firewall) begun(first int) int {
	p.t.Helper()
	p.until(func() bool { return len(p.calls("filter_configure_sync")) > first })
	return p.calls("filter_configure_sync")[first].PID
}

// killHard ends a process that the test's own box started.
func killHard(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }
