//go:build pfsense

package pfsense

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// doors is a box with a stand-in that has all the doors of the package.
type doors struct {
	*phpBox
	php  string
	env  []string
	open *os.File
}

// sums of what gets hooks in a file of the stand-in: the file's, or a function's.
func sumOf(t *testing.T, file, function string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if function != "" {
		indent := "    " // a method's
		if strings.HasSuffix(file, ".php") {
			indent = ""
		}
		text = regexp.MustCompile(`(?ms)^` + indent + `(?:final )?(?:public )?function ` + function + `\(.*?^` + indent + `\}\n`).Find(text)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// newDoors makes the box, with a daemon, and no hooks yet.
func newDoors(t *testing.T) *doors {
	t.Helper()
	d := &doors{php: needPHP(t), phpBox: &phpBox{box.New(t, map[string]string{
		"MeetDispatcher": "php_class = \"MeetDispatcher\"\nmax_queue = 0\nqueue_timeout = 0\n[environment]\nMEET = \"$BOX\"\n",
		"MeetCache":      "php_class = \"MeetCache\"\nqueue_timeout = 0\nmax_queue = 0\n[environment]\nMEET = \"$BOX\"\n[cache]\n",
	})}}
	d.copyTree(source, "php")
	d.phpClient()
	d.copyTree("testdata/doors", "doors")
	d.Write("locks/README", "")
	wrap := "#!/bin/sh\nexport DISPATCHD_RESTAPI_LOCKS=%s/locks\nexec %s -d include_path=%s/doors \"$@\"\n"
	d.program("bin/php", fmt.Sprintf(wrap, d.Dir, d.php, d.Dir))
	d.settings("bin/php", "lazy")
	d.Start()
	t.Cleanup(d.End)
	d.env = append(os.Environ(), "PATH="+d.Path("bin")+":"+os.Getenv("PATH"), "MEET="+d.Dir, "DISPATCHD_RESTAPI_LOCKS="+d.Path("locks"),
		ipc.SocketEnv+"="+d.Client.Socket, "DISPATCHCTL="+box.Program(t, "dispatchctl"))
	return d
}

// hook has dispatchd-restapi put the stand-in on the daemon.
func (d *doors) hook(verb string) {
	d.T.Helper()
	pkg := d.Path("doors/RESTAPI")
	t, ok := d.T.(*testing.T)
	if !ok {
		d.T.Fatal("no test")
	}
	accept := strings.Join([]string{
		sumOf(t, pkg+"/Core/Dispatcher.inc", ""), sumOf(t, pkg+"/Core/Dispatcher.inc", "spawn_process"), sumOf(t, pkg+"/Core/Cache.inc", "process"),
		sumOf(t, pkg+"/.resources/scripts/manage.php", "notify_dispatcher"), sumOf(t, pkg+"/.resources/scripts/dispatch.sh", ""),
	}, ",")
	env := []string{"RESTAPI_DIR=" + pkg, "DISPATCHD_PHP_DIR=" + d.Path("php"), "PHP=" + d.php, "CRONTAB=" + d.Path("crontab"), "DISPATCHD_ACCEPT=" + accept}
	if out, code := script(env, "sbin/dispatchd-restapi", verb); code != 0 || strings.Contains(out, "not guarded") {
		d.T.Fatalf("%s: exit %d, %s", verb, code, out)
	}
}

// command is the package's own command for the class.
func (d *doors) command() *exec.Cmd {
	cmd := exec.Command(d.Path("bin/php"), "-f", d.Path("doors/RESTAPI/.resources/scripts/manage.php"), "notifydispatcher", "MeetDispatcher")
	cmd.Env, cmd.Dir = d.env, d.Dir
	return cmd
}

// start has one door run the class, and waits for its process.
func (d *doors) start(n int) error {
	const api = `require "RESTAPI/autoloader.inc"; $d = new RESTAPI\Dispatchers\MeetDispatcher(%s); $d->spawn_process(%s);`
	php := d.Path("bin/php")
	manage := d.Path("doors/RESTAPI/.resources/scripts/manage.php")
	argv := [][]string{
		{php, "-r", fmt.Sprintf(api, "", "")},
		{php, "-f", manage, "notifydispatcher", "MeetDispatcher"},
		{php, "-r", fmt.Sprintf(api, "async: false", "")},
		{php, "-f", manage, "refreshcache", "MeetCache"},
		{php, "-r", fmt.Sprintf(api, "", fmt.Sprintf("id: %d", n))},
		{"sh", filepath.Join(d.Path("doors/RESTAPI/.resources/scripts"), "dispatch.sh"), "MeetDispatcher", d.Path(fmt.Sprintf("%d.pid", n)), "300", "[]"},
		{box.Program(d.T, "dispatchctl"), "notify", "MeetDispatcher"},
		{php, "-r", `require "RESTAPI/autoloader.inc"; (new RESTAPI\Caches\MeetCache(async: false))->spawn_process();`},
		{box.Program(d.T, "dispatchctl"), "lock", "--dispatcher", "MeetDispatcher", "--", php, "-r", `require "RESTAPI/autoloader.inc"; RESTAPI\Dispatchers\MeetDispatcher::meet("meet");`},
	}[n%9]
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = d.env, d.Dir
	cmd.ExtraFiles = []*os.File{d.open} // what goes on in the background has it too
	out, err := cmd.CombinedOutput()
	exit, _ := errors.AsType[*exec.ExitError](err)
	told := strings.Contains(string(out), "was accepted and goes on") || strings.Contains(string(out), "not known whether the run was accepted")
	if exit != nil && (exit.ExitCode() == ipc.ExitNoDaemon || told) {
		return nil // the daemon's own tool while there is none, and who was told the truth of a dead one
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", argv, err, out)
	}
	return nil
}

// mix has so many starts go through all doors, eight at a time. The daemon dies
// now and then, so that some find none.
func (d *doors) mix(starts int, deaths bool) {
	d.T.Helper()
	ended, open, err := os.Pipe()
	if err != nil {
		d.T.Fatal(err)
	}
	defer func() { _ = ended.Close() }()
	d.open = open
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for n := range numbers {
				if err := d.start(n); err != nil {
					d.T.Error(err)
				}
			}
		})
	}
	for n := range starts {
		if deaths && n%60 == 30 {
			d.Kill()
		}
		numbers <- n
		if deaths && n%60 == 45 {
			d.Start()
		}
	}
	close(numbers)
	workers.Wait()
	if d.Life == nil {
		d.Start()
	}
	_ = open.Close()
	_, _ = io.Copy(io.Discard, ended)
	for _, name := range []string{"MeetDispatcher", "MeetCache"} {
		for _, j := range d.jobs(name) {
			d.Await(j.ID)
		}
	}
}

// counted says how many runs were alone, and how many met another.
func (d *doors) counted() (alone, met int) {
	d.T.Helper()
	for _, name := range []string{"meet", "meet.cache"} {
		for what, to := range map[string]*int{".alone": &alone, ".met": &met} {
			text, err := os.ReadFile(d.Path(name + what))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.T.Fatal(err)
			}
			*to += len(text)
		}
	}
	return alone, met
}

// Whatever the door, no run of a class meets another, with a daemon and without.
func TestDoors(t *testing.T) {
	starts := 1000
	if testing.Short() {
		starts = 180
	}
	for _, mode := range []string{"native", "drop-in"} {
		t.Run(mode, func(t *testing.T) {
			d := newDoors(t)
			d.hook(mode)
			d.mix(starts/2, true)
			alone, met := d.counted()
			// Caches join, and the daemon's own tool finds none now and then.
			if met > 0 || alone < starts/4 {
				t.Errorf("%d runs alone, %d met another", alone, met)
			}
			if left, _ := filepath.Glob(d.Path("locks/*.lock")); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
			t.Logf("%d starts: %d runs, %d met", starts/2, alone, met)
		})
	}
}

// The control: without the hooks the same starts meet each other.
func TestDoorsControl(t *testing.T) {
	d := newDoors(t)
	d.mix(90, false)
	if alone, met := d.counted(); met == 0 {
		t.Errorf("%d runs without any lock, and none met another: the test sees nothing", alone)
	}
}
