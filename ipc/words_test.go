package ipc

import (
	"errors"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"status", "list", "show", "jobs", "log", "wait", "on_failure", "op"}
	for word, want := range map[string]string{
		"status": "status", "staus": "status", "sttaus": "status", "STATUS": "status", "shwo": "show",
		"on-failure": "on_failure", "on_faliure": "on_failure", "po": "op", "lst": "list", "x": "",
		"frobnicate": "", "": "", strings.Repeat("s", 65): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Nearest("aaaa", []string{strings.Repeat("a", 65), "aaab"}); got != "aaab" {
		t.Errorf("got %q beside a word that is too long", got)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"abc", "ab", 1},
		{"abc", "abcd", 1},
		{"abc", "xbc", 1},
		{"abcd", "badc", 2},
		{"kitten", "sitting", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNotifiedWords(t *testing.T) {
	for _, c := range []struct {
		n    Notified
		want string
	}{
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 1}, "started X"},
		{Notified{Job: Job{ID: "X", State: Queued, WaitingFor: &WaitingFor{Reason: WaitTurn}}, Position: 1}, "queued X (next in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 2}, "queued X (2nd in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 3}, "queued X (3rd in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 4}, "queued X (4th in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 11}, "queued X (11th in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 12}, "queued X (12th in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 13}, "queued X (13th in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 21}, "queued X (21st in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Position: 111}, "queued X (111th in line)"},
		{Notified{Job: Job{ID: "X", State: Queued}, Coalesced: true, Position: 5}, "joined X (already queued)"},
		{Notified{Job: Job{ID: "X", State: Running}, Position: 1}, "queued X (it runs already)"},
		{Notified{Job: Job{ID: "X", State: Failed, Error: &JobError{Message: "exit status 1"}}}, "failed X: exit status 1"},
		{Notified{Job: Job{ID: "X", State: Succeeded}}, "succeeded X"},
	} {
		if got := c.n.Words(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.n, got, c.want)
		}
	}
}

// Every kind that a command can meet says what to do next.
func TestErrorLines(t *testing.T) {
	for _, k := range []Kind{
		KindDispatcherUnknown, KindJobUnknown, KindArgumentsInvalid, KindBadRequest, KindBodyTooLarge, KindForbidden,
		KindIdempotencyConflict, KindLocked, KindConfiguration, KindDispatcherDisabled, KindInternal,
	} {
		if lines := Errorf(k, "what: why").Lines(); len(lines) != 2 || lines[0] != "what: why" {
			t.Errorf("%s: %q", k, lines)
		}
	}
	full := Errorf(KindQueueFull, "full")
	full.RetryAfter = 7
	if lines := full.Lines(); len(lines) != 2 || lines[1] != "try again in 7 s" {
		t.Errorf("%q", lines)
	}
	both := Errorf(KindDraining, "draining")
	both.RetryAfter, both.Suggestion = 7, "undrain"
	if lines := both.Lines(); len(lines) != 3 || lines[1] != "undrain" {
		t.Errorf("%q", lines)
	}
}

func TestCheckAPI(t *testing.T) {
	for header, ok := range map[string]bool{
		SpokenAPI(): true, "1": true, "1, 2": true, "2,1": true, "": false, "2": false, "11": false, "one": false,
	} {
		err := CheckAPI(header)
		if (err == nil) != ok {
			t.Errorf("%q: %v", header, err)
		}
		if p, typed := errors.AsType[*Error](err); err != nil && (!typed || p.Kind.ExitCode() != ExitVersion || p.Suggestion == "") {
			t.Errorf("%q: %+v", header, err)
		}
	}
}

func TestReadArguments(t *testing.T) {
	big := `"` + strings.Repeat("x", MaxArguments) + `"`
	for _, c := range []struct {
		name, word, stdin, want string
		kind                    Kind
	}{
		{name: "word", word: `{"a":1}`, want: `{"a":1}`},
		{name: "scalar", word: `-5`, want: `-5`},
		{name: "input", word: "-", stdin: " [1]\n", want: " [1]\n"},
		{name: "two values", word: `1 2`, kind: KindArgumentsInvalid},
		{name: "an escape into the body", word: `1,"arguments":2`, kind: KindArgumentsInvalid},
		{name: "nothing", word: "-", kind: KindArgumentsInvalid},
		{name: "no quotes", word: "text", kind: KindArgumentsInvalid},
		{name: "large word", word: big, kind: KindBodyTooLarge},
		{name: "large input", word: "-", stdin: big, kind: KindBodyTooLarge},
	} {
		got, err := ReadArguments(c.word, strings.NewReader(c.stdin))
		p, _ := errors.AsType[*Error](err)
		if c.kind == "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if c.kind != "" && (p == nil || p.Kind != c.kind || p.Kind.ExitCode() != ExitBadArguments) {
			t.Errorf("%s: %v, want %s", c.name, err, c.kind)
		}
	}
}

func TestCounted(t *testing.T) {
	for n, want := range map[int]string{0: "0 jobs", 1: "1 job", 2: "2 jobs"} {
		if got := Counted(n, "job"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
