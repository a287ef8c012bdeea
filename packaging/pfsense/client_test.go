//go:build pfsense

package pfsense

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
)

// php runs a piece of PHP that has the client as $d, and gives what it prints.
func (b *phpBox) php(transport, code string) string {
	b.T.Helper()
	file, err := filepath.Abs("../php/Dispatchd.php")
	if err != nil {
		b.T.Fatal(err)
	}
	code = fmt.Sprintf("require %q; $d = new Dispatchd\\Client(null, 10, %t); try { %s } catch (Dispatchd\\Problem $p) { print $p->kind . ' ' . $p->status() . ' ' . $p->retryAfter() . ' ' . $p->getMessage(); }",
		file, transport == "curl", code)
	cmd := exec.CommandContext(b.T.Context(), needPHP(b.T), "-d", "display_errors=stderr", "-d", "error_reporting=32767", "-r", code)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), ipc.SocketEnv+"="+b.Client.Socket)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.T.Errorf("%v: %s", err, out)
	}
	return string(out)
}

// transports are the ways to the daemon that PHP has here.
func transports(t *testing.T) []string {
	t.Helper()
	out, _ := exec.Command(needPHP(t), "-r", `print extension_loaded("curl") ? "curl" : "";`).Output()
	if string(out) == "" {
		t.Log("PHP has no curl extension: only streams are tried")
		return []string{"stream"}
	}
	return []string{"curl", "stream"}
}

// Every method of the client does what it says, by both transports.
func TestPHPClient(t *testing.T) {
	b := newBox(t, map[string]string{
		"echo":  "script = 'cat; printf \"{\\\"result\\\":%s}\\n\" \"$(cat $DISPATCHD_ARGS_FILE)\" >&3'",
		"quick": "script = 'exit 0'\nmax_queue = 1\n",
		"gated": gatedFile + "max_queue = 1\n",
		"data":  "script = 'echo \"[1,{\\\"a\\\":2.0}]\"'\n[cache]\nmax_age = \"1h\"\n",
		"text":  "script = 'echo hello'\n[cache]\nformat = \"text\"\n",
		"needs": "script = 'x'\npackage_includes = [\"/nowhere/at all.inc\"]\n",
	})
	b.gates()
	for _, by := range transports(t) {
		for code, want := range map[string]string{
			`print $d->run("quick")["state"];`: "succeeded",
			`print json_encode($d->run("echo", ["a" => "it's \"x\" ü", "n" => 1.0], 30)["result"], 320 | JSON_PRESERVE_ZERO_FRACTION);`:                                                       `{"a":"it's \"x\" ü","n":1.0}`,
			`$t = str_repeat("ü\\\"' ", 20 << 10); $j = $d->run("echo", ["t" => $t]); print $d->job($j["id"])["output"]["bytes"] > 100000 && $j["arguments"]["t"] === $t ? "same" : "other";`: "same",
			`$a = $d->notify("quick", null, "k` + by + `"); $b = $d->notify("quick", null, "k` + by + `"); print $a["id"] === $b["id"] ? "same" : "other"; $d->wait($a["id"]);`:               "same",
			`print $d->dispatcher("gated")["definition"]["max_queue"] . count($d->dispatchers());`:                                                                                            "16",
			`print json_encode($d->cache("data"), JSON_PRESERVE_ZERO_FRACTION) . $d->cache("data", 0)[1]["a"] . trim($d->cache("text"));`:                                                     `[1,{"a":2.0}]2hello`,
			`$d->run("quick"); print count($d->jobs(["dispatcher" => "quick", "limit" => 1]));`:                                                                                               "1",
			`$d->notify("nosuch");`:         `dispatcher_unknown 404 0 no dispatcher is named "nosuch"`,
			`$d->notify("needs");`:          "include_missing 424 0 include /nowhere/at all.inc: no such file",
			`$d->notify("a b/../c?x");`:     "dispatcher_unknown 404 0 ",
			`$d->notify("quick", "\xff");`:  "arguments_invalid 0 0 ",
			`$d->job("nosuch");`:            "job_unknown 404 0 ",
			`$d->ask("PUT", "/v1/nosuch");`: "not_found 404 0 ",
			`(new Dispatchd\Client("` + b.Path("no.sock") + `", 10, ` + fmt.Sprint(by == "curl") + `))->jobs();`: "unavailable 0 0 no daemon answers on ",
		} {
			if got := b.php(by, code); got != want && !(strings.HasSuffix(want, " ") && strings.HasPrefix(got, want)) {
				t.Errorf("%s: %.200s\nprints %.300s\nwant   %.300s", by, code, got, want)
			}
		}
		b.gatedClient(by)
	}
}

// gatedClient is what needs a job that runs: a full queue, a wait that is too
// short, a cancel.
func (b *phpBox) gatedClient(by string) {
	b.T.Helper()
	id := b.Notify("gated", "").ID
	b.Read("up")
	if got := b.php(by, `$d->notify("gated");`); !strings.HasPrefix(got, "queue_full 503 ") || strings.HasPrefix(got, "queue_full 503 0") {
		b.T.Errorf("%s: a full queue: %s", by, got)
	}
	if got := b.php(by, `var_dump($d->wait("`+id+`", 0.2)); print $d->cancel("`+id+`")["state"]; print $d->wait("`+id+`")["state"];`); !strings.HasPrefix(got, "NULL") || !strings.HasSuffix(got, "canceled") {
		b.T.Errorf("%s: wait and cancel: %s", by, got)
	}
}

// A wait and a notify go through a restart of the daemon.
func TestPHPClientRestart(t *testing.T) {
	b := newBox(t, map[string]string{"gated": gatedFile})
	b.gates()
	if err := syscall.Mkfifo(b.Path("waits"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, by := range transports(t) {
		id := b.Notify("gated", "").ID
		b.Read("up")
		said := make(chan string)
		go func() {
			said <- b.php(by, `$d->jobs(); file_put_contents("`+b.Path("waits")+`", "x"); print $d->wait("`+id+`")["state"] . $d->notify("gated")["state"];`)
		}()
		b.Read("waits")
		b.Kill()
		b.Start()
		b.Write("gate", "go\n")
		if got := <-said; got != "succeededqueued" && got != "succeededrunning" {
			t.Errorf("%s: %s", by, got)
		}
		b.Read("up")
		b.Write("gate", "go\n")
	}
}
