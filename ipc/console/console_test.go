package console

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// Colours take no room, plain cells are no states, and the last column is cut
// to the terminal.
func TestTable(t *testing.T) {
	fill := func(table *Table) string {
		table.Row("NAME", "STATE", "WHY")
		table.Row("ready", State("ready"), "")
		table.Row("b", State("failed"), "exit status 1\x1b[2J\nand more")
		var b bytes.Buffer
		if _, err := table.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, c := range []struct {
		name  string
		table *Table
		want  string
	}{
		{"plain", &Table{}, "NAME   STATE   WHY\nready  ready\nb      failed  exit status 1�[2J and more\n"},
		{"coloured", &Table{Palette: Palette{on: true}}, "NAME   STATE   WHY\nready  \x1b[32mready\x1b[0m\nb      \x1b[31mfailed\x1b[0m  exit status 1�[2J and more\n"},
		{"narrow", &Table{Width: 22}, "NAME   STATE   WHY\nready  ready\nb      failed  exit s…\n"},
		{"just wide enough", &Table{Width: 41}, "NAME   STATE   WHY\nready  ready\nb      failed  exit status 1�[2J and more\n"},
		{"narrower than the columns", &Table{Width: 3}, "NAME   STATE   WHY\nready  ready\nb      failed  exit status 1�[2J and more\n"},
	} {
		if got := fill(c.table); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, got, c.want)
		}
	}
}

func TestNewPalette(t *testing.T) {
	var pipe bytes.Buffer
	for _, c := range []struct {
		mode, noColor string
		on            bool
	}{
		{"auto", "", false}, // no terminal
		{"auto", "1", false},
		{"always", "", true},
		{"always", "1", true},
		{"never", "", false},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		if p := NewPalette(c.mode, &pipe); p.on != c.on {
			t.Errorf("--color=%s, NO_COLOR=%q: %t", c.mode, c.noColor, p.on)
		}
	}
}

// Every state has a colour of its own meaning, and no other word has one.
func TestState(t *testing.T) {
	p := Palette{on: true}
	for _, s := range ipc.States() {
		if colored := string(p.State(string(s))) != string(s); colored == (s == ipc.Queued) {
			t.Errorf("%s: coloured %t", s, colored)
		}
	}
	if got := p.State("backup"); got != "backup" {
		t.Errorf("a name is coloured: %q", got)
	}
}

func TestReport(t *testing.T) {
	full := ipc.Errorf(ipc.KindQueueFull, "full")
	full.RetryAfter = 3
	for _, c := range []struct {
		err  error
		json bool
		code int
		want string
	}{
		{nil, false, 0, ""},
		{Exit(9), false, 9, ""},
		{Exit(9), true, 9, ""},
		{Code(0), false, 0, ""},
		{Usage("do this", "what: why"), false, 2, "p: what: why\n  do this\n"},
		{fmt.Errorf("more: %w", full), false, 75, "p: full\n  try again in 3 s\n"},
		{errors.New("unheard of"), false, 70, "p: unheard of\n  the daemon's log may say more; dispatchctl doctor looks for what is wrong\n"},
		{errors.New("unheard of"), true, 70, `{"type":"/problems/internal","title":"internal","status":500,"kind":"internal","detail":"unheard of"}` + "\n"},
	} {
		var b bytes.Buffer
		if code := Report(&b, "p", c.json, c.err); code != c.code || b.String() != c.want {
			t.Errorf("%v: exit %d, said %q, want %d, %q", c.err, code, b.String(), c.code, c.want)
		}
	}
}

// A mistake in the command line is a usage error with advice, whatever it is.
func TestStrict(t *testing.T) {
	for line, want := range map[string]string{
		"stauts":        "did you mean p status?",
		"status --foce": "did you mean --force?",
		"status x":      "usage: p status",
		"help stauts":   "did you mean p status?",
		"hiden":         "see: p --help",
		"--zzzzz":       "see: p --help",
		"status -x":     "see: p status --help",
	} {
		root := &cobra.Command{Use: "p", Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
			return UnknownVerb(cmd, args[0])
		}}
		status := &cobra.Command{Use: "status", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {}}
		status.Flags().Bool("force", false, "")
		root.AddCommand(status, &cobra.Command{Use: "hidden", Hidden: true, Run: func(*cobra.Command, []string) {}})
		Strict(root, strings.Fields(line))
		root.SetArgs(strings.Fields(line))
		p, _ := errors.AsType[*ipc.Error](root.Execute())
		if p == nil || p.Kind != ipc.KindUsage || !strings.HasPrefix(p.Suggestion, want) {
			t.Errorf("%s: %+v, want %q", line, p, want)
		}
	}
}

func TestOneOf(t *testing.T) {
	allowed := []string{"auto", "always", "never"}
	if err := OneOf("color", "auto", allowed); err != nil {
		t.Error(err)
	}
	p, _ := errors.AsType[*ipc.Error](OneOf("color", "alwasy", allowed))
	if p == nil || !strings.Contains(p.Suggestion, "did you mean always?") {
		t.Errorf("%+v", p)
	}
	p, _ = errors.AsType[*ipc.Error](OneOf("color", "", allowed))
	if p == nil || p.Suggestion != "use one of auto, always, never" {
		t.Errorf("%+v", p)
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text          string
		width, indent int
		want          string
	}{
		{"one two three four", 0, 6, "one two three four"},
		{"one two three four", 13, 4, "one two\n    three\n    four"},
		{"averylongwordindeed x", 10, 2, "averylongwordindeed\n  x"},
		{"ä\x1b[2J ö", 80, 2, "ä�[2J ö"},
		{"exactly ten", 13, 2, "exactly ten"},
	} {
		if got := Wrap(c.text, c.width, c.indent); string(got) != c.want {
			t.Errorf("%q in %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "no jobs", 1: "1 job", 2: "2 jobs"} {
		if got := Count(n, "job"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
