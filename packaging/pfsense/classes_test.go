//go:build pfsense

package pfsense

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// dispatcherClass is the file of a class with a body.
func dispatcherClass(name, body string) string {
	return "<?php\n\nnamespace RESTAPI\\Dispatchers;\n\nrequire_once 'RESTAPI/autoloader.inc';\n\nuse RESTAPI\\Core\\Dispatcher;\n\nclass " + name + " extends Dispatcher {\n" + body + "}\n"
}

// template is a class as a newcomer writes it: it takes no arguments and says so.
const template = "    protected function _process(): void {\n        print basename(__FILE__) . ' ' . basename(__DIR__) . \" ran\\n\";\n    }\n"

// Classes whose _process() takes something of its own run; one that does not load
// takes no other down, with either loader.
func TestNarrowClasses(t *testing.T) {
	b := newBox(t, map[string]string{
		"template": `php_class = "TemplateDispatcher"`, "typed": `php_class = "NamedDispatcher"`, "plain": `php_class = "UntypedDispatcher"`,
		"echo": `php_class = "EchoDispatcher"`, "syntax": `php_class = "SyntaxDispatcher"`,
	})
	classes := b.Path("standin/RESTAPI/Dispatchers/")
	b.Write("standin/RESTAPI/Dispatchers/TemplateDispatcher.inc", dispatcherClass("TemplateDispatcher", template))
	b.Write("standin/RESTAPI/Dispatchers/NamedDispatcher.inc", dispatcherClass("NamedDispatcher", "    protected function _process(int $id, array $more = ['a', 'b'], string ...$rest): void {\n        print \"id $id\\n\";\n    }\n"))
	b.Write("standin/RESTAPI/Dispatchers/UntypedDispatcher.inc", dispatcherClass("UntypedDispatcher", "    public function _process() {\n        return 'x';\n    }\n"))
	for _, loader := range []string{"lazy", "package"} {
		for _, broken := range []string{"", "SyntaxDispatcher", "FatalDispatcher"} {
			if broken != "" {
				text, err := os.ReadFile("testdata/broken/RESTAPI/Dispatchers/" + broken + ".inc")
				if err != nil {
					t.Fatal(err)
				}
				b.Write("standin/RESTAPI/Dispatchers/"+broken+".inc", string(text))
			}
			b.settings("phpwrap", loader)
			b.Stop()
			b.Start()
			for _, c := range []struct{ name, args, log, result string }{
				{"template", "", "TemplateDispatcher.inc Dispatchers ran\n", ""},
				{"typed", `{"id":7}`, "id 7\n", ""},
				{"typed", `[8,["x"],"y"]`, "id 8\n", ""},
				{"plain", "", "", `"returned":"x"`},
				{"echo", `{"n":1}`, "async is false, the greeting is hello\n", `"n":1`},
			} {
				job := b.Await(b.Notify(c.name, c.args).ID)
				if log := b.Log(job.ID); job.State != ipc.Succeeded || !strings.HasSuffix(log, c.log) || !strings.Contains(string(job.Result), c.result) {
					t.Errorf("%s, %s, %s %s: %s %+v\n%s", loader, broken, c.name, c.args, job.State, job.Error, log)
				}
			}
			if job := b.Await(b.Notify("typed", `{"id":"no number"}`).ID); job.State != ipc.Failed || *job.ExitCode != 65 {
				t.Errorf("%s: with bad arguments: %s %+v", loader, job.State, job.Error)
			}
		}
		if job := b.Await(b.Notify("syntax", "").ID); job.State != ipc.Failed {
			t.Errorf("%s: a class that does not load: %s", loader, job.State)
		}
		for _, broken := range []string{"SyntaxDispatcher", "FatalDispatcher"} {
			_ = os.Remove(classes + broken + ".inc")
		}
	}
}

// The template class of the package's own document runs, word for word, in the
// package: PFREST_SRC and PFBOX.
func TestRealTemplate(t *testing.T) {
	src := needFirewall(t)
	doc, err := os.ReadFile(filepath.Join(src, "docs/BUILDING_CUSTOM_DISPATCHER_CLASSES.md"))
	if err != nil {
		t.Skip(err)
	}
	blocks := strings.Split(string(doc), "```")
	class, method := strings.TrimPrefix(blocks[1], "php\n"), strings.TrimPrefix(blocks[3], "php\n")
	end := strings.LastIndex(class, "}")
	for _, loader := range []string{"package", "lazy"} {
		p := newFirewall(t, loader, packages)
		b := at(t, t.TempDir())
		b.copyTree(filepath.Join(p.src, "pfSense-pkg-RESTAPI/files"), "pfSense-pkg-RESTAPI/files")
		p.src = b.Dir
		b.Write("pfSense-pkg-RESTAPI/files/usr/local/pkg/RESTAPI/Dispatchers/MyCustomDispatcher.inc", class[:end]+method+class[end:])
		at(t, p.path("tmp/dd")).Write("dispatchers.d/MyCustomDispatcher.toml", "php_class = 'MyCustomDispatcher'\n")
		p.start()
		for _, name := range []string{"MyCustomDispatcher", "FirewallApplyDispatcher"} {
			if job := p.at(t).Await(p.at(t).Notify(name, "").ID); job.State != ipc.Succeeded {
				t.Errorf("%s: %s: %s %+v", loader, name, job.State, job.Error)
			}
		}
	}
}

// imported imports one class, and gives its definition.
func imported(t *testing.T, name, body string) (out string, code int, s *dispatchers.Spec) {
	t.Helper()
	b := at(t, t.TempDir())
	b.copyTree("testdata/standin/RESTAPI/Core", "src/RESTAPI/Core")
	b.Write("src/RESTAPI/Dispatchers/"+name+".inc", body)
	b.Write("out/README", "")
	out, code = imports(t, "--dir", b.Path("out"), "--src", b.Path("src"))
	catalog := dispatchers.Load(dispatchers.Options{Dirs: []string{b.Path("out")}, TrustUID: os.Geteuid(), SkipOwnership: true})
	for _, f := range catalog.Faults {
		t.Errorf("%s: %s", name, f.Render())
	}
	left, _ := filepath.Glob(b.Path("*"))
	if len(left) != 2 {
		t.Errorf("written outside of the directory that was named: %s", left)
	}
	return out, code, catalog.Specs[name]
}

// What a constructor sets is read; where it cannot run, no definition is guessed.
func TestImportConstructor(t *testing.T) {
	out, code, s := imported(t, "SetDispatcher", dispatcherClass("SetDispatcher", `
    public function __construct(bool $async = true) {
        parent::__construct(async: $async);
        $this->timeout = 77;
        $this->max_queue = 3;
        $this->schedule = 'hourly';
        $this->required_packages = ['pkg-set'];
    }
`))
	if code != 0 || s == nil || s.Timeout.Seconds() != 77 || s.MaxQueue != 3 || len(s.Schedule) != 1 || len(s.RequiredPackages) != 1 {
		t.Errorf("exit %d, %+v\n%s", code, s, out)
	}
	for name, body := range map[string]string{
		"a function of pfSense": "no_such_function_here();", "an exception": "throw new \\Exception('no');", "no number": "$this->timeout = 'long';",
		"an exit": "exit(0);", "a fatal error": "ini_set('memory_limit', '8M'); str_repeat('x', 64 << 20);",
	} {
		out, code, s := imported(t, "HardDispatcher", dispatcherClass("HardDispatcher", "    public int $timeout = 4;\n    public function __construct() {\n        "+body+"\n    }\n"))
		if code != 78 || s != nil || !strings.Contains(out, "HardDispatcher") {
			t.Errorf("%s: exit %d, %+v\n%s", name, code, s, out)
		}
	}
}

// A checkout is anybody's: its code is not run as root, what it prints is no answer,
// and neither its words nor its files' names get further than they should.
func TestImportHostile(t *testing.T) {
	answer := `{"file":"x","kind":"dispatcher","name":"../traversed","class":"x\ncommand = [\"/bin/true\"]","timeout":1,"max_queue":1,"schedule":"","required_packages":[],"package_includes":[]}`
	out, code, s := imported(t, "TalkDispatcher", "<?php\nprint '"+answer+"' . \"\\n\"; fwrite(STDERR, 'noise'); @fwrite(fopen('php://fd/3', 'w'), '"+answer+"' . \"\\n\");\n"+strings.TrimPrefix(dispatcherClass("TalkDispatcher", ""), "<?php\n"))
	if s != nil && (s.PHPClass != `RESTAPI\Dispatchers\TalkDispatcher` || len(s.Command) > 0) || strings.Contains(out, "traversed") || strings.Contains(out, "noise") {
		t.Errorf("exit %d, %+v\n%s", code, s, out)
	}
	out, code, s = imported(t, "NobodyDispatcher", dispatcherClass("NobodyDispatcher", `
    public function __construct() {
        parent::__construct();
        $this->max_queue = posix_geteuid();
        $this->timeout = (int) @file_put_contents('/etc/dispatchd-test', 'x') + count(getenv());
    }
`))
	want := os.Geteuid()
	if want == 0 {
		want = 65534
	}
	if code != 0 || s == nil || s.MaxQueue != want || s.Timeout.Seconds() > 1 {
		t.Errorf("exit %d, %+v\n%s", code, s, out)
	}
	out, code, _ = imported(t, "EscapeDispatcher", dispatcherClass("EscapeDispatcher", "    public function __construct() {\n        throw new \\Exception(\"\\x1b[2Jboom\\n# a line\");\n    }\n"))
	if code != 78 || strings.ContainsAny(out, "\x1b") || strings.Contains(out, "\n# a line") {
		t.Errorf("exit %d\n%q", code, out)
	}
	out, code, s = imported(t, "LineDispatcher", dispatcherClass("LineDispatcher", "    public string $schedule = \"hourly\\ncommand = ['x']\";\n"))
	if code != 78 || s != nil {
		t.Errorf("exit %d, %+v\n%s", code, s, out)
	}
	if out, code, _ = imported(t, "a b\nc", "<?php"); code != 78 || !strings.Contains(out, "no dispatcher can have that name") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// A run by the daemon has the package's lock file, waits for who has it and lives, and
// takes a stale one away.
func TestBridgeLock(t *testing.T) {
	dir := t.TempDir()
	env := []string{"DISPATCHD_RESTAPI_LOCKS=" + dir, "DISPATCHD_DISPATCHER=x"}
	b := at(t, dir)
	fifo := b.Path("fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	args := fmt.Sprintf(`{"how":"wait","fifo":%q}`, fifo)
	running := make(chan said)
	go func() { running <- bridge(t, args, env, "run", "EndingDispatcher") }()
	open, err := os.OpenFile(fifo, os.O_WRONLY, 0) // it runs
	if err != nil {
		t.Fatal(err)
	}
	if text := b.Read("EndingDispatcher.lock"); text != "dispatchd x\n" {
		t.Errorf("while it runs the file says %q", text)
	}
	_ = open.Close()
	if s := <-running; s.code != 0 {
		t.Errorf("%+v", s)
	}
	lock := b.Path("EndingDispatcher.lock")
	for what, put := range map[string]func() error{
		"stale":         func() error { return os.WriteFile(lock, []byte("lock"), 0o644) },
		"ours, stale":   func() error { return os.WriteFile(lock, []byte("dispatchd x\n"), 0o644) },
		"of a dead":     func() error { return os.WriteFile(lock, []byte("999999999"), 0o644) },
		"a link":        func() error { return os.Symlink("/etc/hostname", lock) },
		"a directory":   func() error { return os.Mkdir(lock, 0o755) },
		"a pipe":        func() error { return syscall.Mkfifo(lock, 0o644) },
		"another's":     func() error { return os.WriteFile(lock, []byte("dispatchd y\n"), 0o644) },
		"of many bytes": func() error { return os.WriteFile(lock, make([]byte, 1<<20), 0o644) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if s := bridge(t, "", env, "run", "EndingDispatcher"); s.code != 0 {
			t.Errorf("%s: %+v", what, s)
		}
		if _, err := os.Lstat(lock); err == nil {
			t.Errorf("%s: the file is left", what)
		}
	}
	// The package's own command: it holds the file without a lock of the kernel, and
	// none at all when it refreshes a cache.
	b.Write("manage.php", `<?php $argv[3] && file_put_contents($argv[3], 'lock'); file_get_contents($argv[4]); $argv[3] && unlink($argv[3]);`)
	for _, c := range []struct{ verb, class, lock string }{{"notifydispatcher", "EndingDispatcher", lock}, {"refreshcache", "DataCache", ""}} {
		cmd := exec.Command(needPHP(t), "-f", b.Path("manage.php"), c.verb, c.class, c.lock, fifo)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if open, err = os.OpenFile(fifo, os.O_WRONLY, 0); err != nil {
			t.Fatal(err)
		}
		waits := exec.Command(needPHP(t), "-d", "include_path="+standin(t), "-f", filepath.Join(source, "bridge.php"), "--", "run", c.class)
		waits.Env = append(append(os.Environ(), env...), "STANDIN_CACHE="+dir)
		says, err := waits.StderrPipe()
		if err == nil {
			err = waits.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(says)
		line, _ := lines.ReadString('\n') // it waits
		if want := fmt.Sprintf("waiting for process %d,", cmd.Process.Pid); !strings.HasPrefix(line, want) {
			t.Errorf("beside %s it says %q, want %s", c.verb, line, want)
		}
		_ = open.Close()
		_, _ = lines.WriteTo(io.Discard)
		if err := waits.Wait(); err != nil {
			t.Errorf("behind %s: %v", c.verb, err)
		}
		_ = cmd.Wait()
	}
}

// The time that a job waits for the package's own command is none of its timeout.
func TestBridgeLockTime(t *testing.T) {
	b := newBox(t, map[string]string{"echo": "php_class = \"EchoDispatcher\"\ntimeout = 2\n"})
	lock := b.Path("locks/EchoDispatcher.lock")
	b.Write("locks/README", "")
	b.Write("phpwrap", strings.Replace(b.Read("phpwrap"), "exec", "export DISPATCHD_RESTAPI_LOCKS="+b.Path("locks")+"\nexec", 1))
	b.Write("manage.php", `<?php file_put_contents($argv[3], 'lock'); print 'up'; sleep(4); unlink($argv[3]);`)
	cmd := exec.Command(needPHP(t), "-f", b.Path("manage.php"), "notifydispatcher", "EchoDispatcher", lock)
	up, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(up, make([]byte, 2))
	job := b.Await(b.Notify("echo", "").ID)
	if log := b.Log(job.ID); job.State != ipc.Succeeded || !strings.Contains(log, "waiting for process") {
		t.Errorf("%s %+v\n%s", job.State, job.Error, log)
	}
	_ = cmd.Wait()
}
