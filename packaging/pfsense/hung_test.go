//go:build pfsense

package pfsense

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
)

// stopped has the daemon hang while fn runs.
func (b *phpBox) stopped(fn func()) {
	b.T.Helper()
	daemon := b.Life.Cmd.Process
	if err := daemon.Signal(syscall.SIGSTOP); err != nil {
		b.T.Fatal(err)
	}
	defer func() { _ = daemon.Signal(syscall.SIGCONT) }()
	fn()
}

// A call ends in the time that it was given while the daemon hangs, and is not
// made again; a notify of which nobody knows whether it was accepted is the same
// job when it is asked for again.
func TestPHPClientHung(t *testing.T) {
	b := newBox(t, map[string]string{"quick": "script = 'exit 0'\n"})
	for _, by := range transports(t) {
		for code, want := range map[string]string{
			`$d->jobs();`:                   "no_answer 0 0 nothing answered on ",
			`$d->notify("quick");`:          "no_answer 0 0 nothing answered on ",
			`$d->notify("quick", $large);`:  "no_answer 0 0 nothing answered on ",
			`$d->dispatcher("quick");`:      "no_answer 0 0 nothing answered on ",
			`$d->wait("x", 0.5);`:           "",
			`$d->cache("quick", null, 0);`:  "no_answer 0 0 nothing answered on ",
			`$d->cancel("01ARZ3NDEKTSV4");`: "no_answer 0 0 nothing answered on ",
		} {
			var got string
			b.stopped(func() { // it ends before the daemon goes on
				got = b.php(by, `$large = str_repeat("x", 900000); $d->within(1.5); $t = microtime(true); register_shutdown_function(static function () use ($t) { printf("|%.1f", microtime(true) - $t); });`+code)
			})
			text, seconds, _ := strings.Cut(got, "|")
			var took float64
			if _, err := fmt.Sscan(seconds, &took); err != nil || took > 9 || took < 0.4 || !strings.HasPrefix(text, want) || want == "" && text != "" {
				t.Errorf("%s: %s gives %q after %s s", by, code, text, seconds)
			}
		}
		b.stopped(func() {
			if got := b.php(by, `$d->within(0.5); try { $d->notify("quick", ["n" => "`+by+`"]); } catch (Dispatchd\Problem $p) { file_put_contents("`+b.Path("key")+`", $p->key()); print (int) $p->isUnknown(); throw $p; }`); !strings.HasPrefix(got, "1no_answer") || !strings.Contains(got, "not known whether") {
				t.Errorf("%s: %s", by, got)
			}
		})
		if got := b.php(by, `$k = file_get_contents("`+b.Path("key")+`"); print $d->run("quick", ["n" => "`+by+`"], 0, $k)["state"];`); got != "succeeded" {
			t.Errorf("%s: once more: %s", by, got)
		}
		cont := fmt.Sprintf("exec(\"kill -CONT %d\")", b.Life.Cmd.Process.Pid)
		b.stopped(func() {
			got := b.php(by, `$d->within(0.5); try { $d->notify("quick", ["m" => "`+by+`"]); print "accepted"; } catch (Dispatchd\Problem) { } `+cont+`; $d->within(60); print $d->run("quick", ["m" => "`+by+`"])["state"];`)
			if got != "succeeded" {
				t.Errorf("%s: by the same client: %s", by, got)
			}
		})
		for _, j := range b.jobs("quick") { // those of the table above were accepted in the end
			b.Await(j.ID)
		}
		for _, args := range []string{`{"n":"` + by + `"}`, `{"m":"` + by + `"}`} {
			own := slices.DeleteFunc(b.jobs("quick"), func(j ipc.Job) bool { return string(j.Arguments) != args })
			if len(own) != 1 {
				t.Errorf("%s: %d jobs with %s", by, len(own), args)
			}
		}
	}
}

// Nothing is sent to a socket that is a stranger's, or lies where he can put it.
func TestPHPClientTrust(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	b := newBox(t, map[string]string{"quick": "script = 'exit 0'\n"})
	for what, undo := range map[string]func() func(){
		"the socket": func() func() {
			_ = os.Chown(b.Client.Socket, 65534, -1)
			return func() { _ = os.Chown(b.Client.Socket, 0, -1) }
		},
		"its directory": func() func() {
			_ = os.Chown(b.Path("run"), 65534, -1)
			return func() { _ = os.Chown(b.Path("run"), 0, -1) }
		},
		"others' writing": func() func() {
			_ = os.Chmod(b.Path("run"), 0o777)
			return func() { _ = os.Chmod(b.Path("run"), 0o755) }
		},
	} {
		back := undo()
		for _, by := range transports(t) {
			if got := b.php(by, `$d->notify("quick", ["password" => "x"]);`); !strings.HasPrefix(got, "forbidden 0 0 ") {
				t.Errorf("%s, %s: %s", by, what, got)
			}
		}
		back()
	}
	_ = os.Chown(b.Client.Socket, 65534, -1)
	for user, want := range map[string]string{"65534": "[]", "nobody": "[]", "1": "forbidden", "nosuchuser": "forbidden"} {
		t.Setenv("DISPATCHD_SERVER_USER", user)
		if got := b.php("stream", `print json_encode($d->jobs());`); !strings.HasPrefix(got, want) {
			t.Errorf("with %s: %s", user, got)
		}
	}
	_ = os.Chown(b.Client.Socket, 0, -1)
	if n := len(b.jobs("quick")); n != 0 {
		t.Errorf("%d jobs were asked for", n)
	}
	if got := b.php("stream", `print $d->run("quick")["state"];`); got != "succeeded" {
		t.Errorf("own again: %s", got)
	}
}

// An API call that the daemon does not answer is told so in time, and is the same
// job when it comes again; another one is another.
func TestNativeHung(t *testing.T) {
	b := newBox(t, map[string]string{"gated": "script = 'exit 0'\n"})
	dir := b.installed(t)
	const spawn = `$d->timeout = 2; $d->async = false; print is_int($d->spawn_process(id: 3)) ? "done" : "?";`
	b.stopped(func() {
		for range 2 {
			if got := b.hooked(dir, spawn); !strings.Contains(got, "ServiceUnavailableError DISPATCHER_ACCEPTANCE_UNKNOWN 503 30 ") || !strings.Contains(got, "not known whether") {
				t.Errorf("hung: %s", got)
			}
		}
	})
	if got := b.hooked(dir, strings.ReplaceAll(spawn, "= 2;", "= 100;")); got != "checked done" {
		t.Errorf("once more: %s", got)
	}
	if n := len(b.jobs("gated")); n != 1 {
		t.Errorf("%d jobs for one request", n)
	}
	if got := b.hooked(dir, strings.ReplaceAll(spawn, "= 2;", "= 100;")); got != "checked done" || len(b.jobs("gated")) != 2 {
		t.Errorf("a new request: %s, %d jobs", got, len(b.jobs("gated")))
	}
}

// A caller waits as long as the class may run, and not for ever; the job goes on.
func TestNativeBound(t *testing.T) {
	b := newBox(t, map[string]string{"gated": gatedFile})
	b.gates()
	dir := b.installed(t)
	if _, err := b.Client.Pause(t.Context(), "gated", true); err != nil {
		t.Fatal(err)
	}
	got := b.hooked(dir, `$d->timeout = 1; $d->async = false; $d->spawn_process();`)
	jobs := b.jobs("gated")
	if len(jobs) != 1 || !strings.Contains(got, "ServiceUnavailableError DISPATCHER_STILL_RUNNING 503 1 ") || !strings.Contains(got, jobs[0].ID) {
		t.Fatalf("paused: %s, %d jobs", got, len(jobs))
	}
	if _, err := b.Client.Pause(t.Context(), "gated", false); err != nil {
		t.Fatal(err)
	}
	b.Read("up")
	b.Write("gate", "go\n")
	if job := b.Await(jobs[0].ID); job.State != ipc.Succeeded {
		t.Errorf("the job: %s %+v", job.State, job.Error)
	}
	code := `require "` + b.Path("php/Native.php") + `"; foreach ([0, -1, 1, 169, 170, 171, 86400] as $t) print Dispatchd\Native::bound($t) . " ";`
	out, err := exec.Command(needPHP(t), "-r", code).CombinedOutput()
	if err != nil || string(out) != "170 170 1 169 170 170 170 " {
		t.Errorf("%v: %s", err, out)
	}
}
