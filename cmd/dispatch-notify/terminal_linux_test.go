package main

import (
	"os"
	"strings"
	"testing"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
	"dispatchd/test/box"
)

// attack runs a command line on a terminal against a server that says the text
// everywhere, and gives what a person sees.
func attack(t *testing.T, socket string, args []string) string {
	t.Helper()
	tty, seen := box.PTY(t)
	errw, err := os.OpenFile(tty.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &command{in: strings.NewReader(""), out: terminal.NewOutput(tty), err: terminal.NewOutput(errw)}
	c.finish(c.run(append([]string{"--socket=" + socket}, args...)))
	_ = errw.Close()
	return seen()
}

// FuzzTerminal: nothing that a server or a command line says drives a terminal.
func FuzzTerminal(f *testing.F) {
	f.Add("\x1b[2J\x1b]0;title\x07 \u009b2J \x9b2J \u202egnp \x7f\x08\x00\r line\nbreak\u2028 \u200b")
	f.Add("\x1b[31")
	f.Fuzz(func(t *testing.T, text string) {
		for _, state := range []ipc.State{ipc.Failed, ipc.Queued} {
			for _, refuse := range []bool{false, true} {
				h := box.NewHostile(t, text, state, refuse)
				for _, args := range [][]string{
					{"d"},
					{"d", "--print-id"},
					{"d", "--json"},
					{"d", "--wait=1ms"},
					{"d", "--wait=1ms", "--json"},
					{"d", "--wait=1ms", "--print-id"},
					{text},
					{"d", text},
					{"d", "1", "--key", text},
					{"--" + text, "d"},
					{"--wait=" + text, "d"},
					{"d", "--json", text},
					{"--socket", text, "d"},
					{"--help"},
				} {
					if state == ipc.Queued && strings.HasPrefix(args[len(args)-1], "--wait=") && text == "true" {
						continue // it would wait for ever
					}
					if bad := box.Drives(attack(t, h.Socket, args)); bad != "" {
						t.Errorf("%q, %s, refused %t: a terminal gets %q", args, state, refuse, bad)
					}
				}
			}
		}
	})
}
