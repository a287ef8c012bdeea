package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
	"dispatchd/test/box"
)

// attacks are texts that drive a terminal, each in another way.
func attacks() []string {
	return []string{
		"\x1b[2J\x1b[Hboom",
		"\x1b]0;title\x07\x1b]52;c;cm0gLXJm\x1b\\",
		"c1 \u009b2J \u009d0;t\u009c \x9b2J",
		"bidi \u202egnp.exe\u202c \u2066x\u2069 \u200f",
		"bell\x07 back\x08\x08 del\x7f nul\x00 cr\rover ff\x0c so\x0e",
		"line\nbreak\u2028and\u2029more\x85",
		"\x1b[31",
		"\x1bP1;2q\x1b\\\x1bc\x1b(0",
		"zero\u200bwidth\u2060\ufeff\U000e0041",
	}
}

// lines are the command lines of every verb. TEXT is the attacker's text, as a
// person may paste it.
func lines() []string {
	return []string{
		"notify d", "notify d --print-id", "notify TEXT TEXT", "run d", "run TEXT", "notifydispatcher d", "retry 01A", "retry TEXT", "wait 01A", "wait TEXT",
		"status", "list", "show d", "show 01A", "show TEXT", "jobs", "jobs TEXT --limit 1", "jobs --state TEXT", "jobs --since TEXT", "log 01A", "log d", "log -f 01A", "log TEXT",
		"cancel 01A", "cancel d", "why 01A", "why d", "pause d", "resume d", "drain", "undrain", "reload", "reload -n", "upgrade",
		"locks", "lock TEXT -- true", "lock held --timeout 1ms -- true", "lock held -- TEXT", "schedule", "schedule --tz TEXT", "schedule --spec TEXT", "cache list", "cache get c", "cache refresh TEXT", "refreshcache TEXT",
		"check --color TEXT", "import pfsense --php TEXT", "doctor", "openapi", "completion TEXT", "version", "TEXT", "--TEXT", "help TEXT", "cache TEXT", "status --socket TEXT",
		"__complete show ", "__complete lock ", "__complete wait ",
	}
}

// Every verb is among the lines.
func TestEveryVerbIsAttacked(t *testing.T) {
	var leaves func(cmd *cobra.Command, path string)
	all := lines()
	leaves = func(cmd *cobra.Command, path string) {
		for _, sub := range cmd.Commands() {
			leaves(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
		if path != "" && !cmd.HasSubCommands() && !slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l+" ", path+" ") }) {
			t.Errorf("%s is not attacked", path)
		}
	}
	leaves((&app{}).root(), "")
}

// attack runs a command line on a terminal and gives what a person sees.
func attack(t *testing.T, line, text, socket string, flags ...string) string {
	t.Helper()
	args := strings.Split(line, " ")
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "TEXT", text)
	}
	at := len(args)
	if dash := slices.Index(args, "--"); dash >= 0 {
		at = dash
	}
	if args[0] != "__complete" {
		args = slices.Insert(args, at, flags...)
	}
	if !strings.Contains(line, "--socket") {
		args = slices.Insert(args, min(1, at), "--socket="+socket)
	}
	if args[0] == "__complete" {
		args = append([]string{"__complete", args[1]}, args[2:]...)
	}
	tty, seen := box.PTY(t)
	errw, err := os.OpenFile(tty.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	Main(args, strings.NewReader(""), tty, errw)
	_ = errw.Close()
	return seen()
}

// attackAll runs every line against a server that says the text everywhere.
func attackAll(t *testing.T, text string) {
	for _, state := range []ipc.State{ipc.Failed, ipc.Running, ipc.Queued} {
		for _, refuse := range []bool{false, true} {
			if refuse && state != ipc.Failed {
				continue
			}
			h := box.NewHostile(t, text, state, refuse)
			holdWith(t, h.Socket, text)
			for _, line := range lines() {
				if waits := strings.Fields(line)[0]; !state.Final() && slices.Contains([]string{"run", "notifydispatcher", "wait", "cache", "refreshcache"}, waits) {
					continue // it would wait for ever
				}
				for _, flags := range [][]string{nil, {"--json"}} {
					seen := attack(t, line, text, h.Socket, flags...)
					if bad := box.Drives(seen); bad != "" {
						t.Errorf("%s %q, jobs %s, refused %t: a terminal gets %q of %q", line, flags, state, refuse, bad, text)
					}
				}
			}
		}
	}
}

// holdWith holds a lock whose file names a hostile command.
func holdWith(t *testing.T, socket, text string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(socket), "locks")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := lockfile.Try(dir, "held", false, lockfile.Holder{PID: os.Getpid(), Job: text, Command: text})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

func TestTerminal(t *testing.T) {
	if !box.Soak {
		attackAll(t, strings.Join(attacks(), ""))
		return
	}
	for _, text := range attacks() {
		attackAll(t, text)
	}
}

// Tables and words are safe in a pipe, too: it may end at a terminal. The output
// of a job is byte for byte what the job wrote.
func TestPipe(t *testing.T) {
	text := strings.Join(attacks(), "")
	h := box.NewHostile(t, text, ipc.Failed, false)
	for _, line := range []string{"list", "jobs", "status", "show d", "show 01A", "why 01A", "locks", "schedule", "cache list", "doctor", "wait 01A"} {
		var out, errw bytes.Buffer
		Main(append(strings.Fields(line), "--socket", h.Socket), strings.NewReader(""), &out, &errw)
		if bad := box.Drives(out.String() + errw.String()); bad != "" {
			t.Errorf("%s: %q", line, bad)
		}
	}
	for line, want := range map[string]string{"log 01A": text + "\n" + text, "cache get c": text} {
		var out, errw bytes.Buffer
		if Main(append(strings.Fields(line), "--socket", h.Socket), strings.NewReader(""), &out, &errw); out.String() != want {
			t.Errorf("%s: %q, want %q", line, out.String(), want)
		}
	}
}

// --raw on a terminal is what the job wrote.
func TestRaw(t *testing.T) {
	h := box.NewHostile(t, "\x1b]0;t\x07", ipc.Failed, false)
	if seen := attack(t, "log 01A --raw", "", h.Socket); !strings.Contains(seen, "\x1b]0;t\x07") {
		t.Errorf("%q", seen)
	}
	if seen := attack(t, "log 01A --color=always", "", box.NewHostile(t, "\x1b[31mred", ipc.Failed, false).Socket); !strings.Contains(seen, "\x1b[31mred") {
		t.Errorf("colours do not pass: %q", seen)
	}
}

func FuzzTerminal(f *testing.F) {
	f.Add("\x1b]0;title\x07")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 || box.Drives(text) == "" {
			return // such as the name of a lock, with which lock would become the command
		}
		attackAll(t, text)
	})
}
