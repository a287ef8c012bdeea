package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dispatchd/dispatchers"
)

// A directory NAME.d has the drop-ins of NAME, but dispatchers.d whole files.
func TestDropIns(t *testing.T) {
	for dir, want := range map[string]string{
		"/etc/dispatchd/dispatchers.d": "", "/etc/x/op.d": "op", "op.d": "op", "op": "", "/": "", "9lives.d": "", "a b.d": "", ".d": "", "a.d.d": "",
	} {
		if got := dropIns(dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	for want, r := range map[string]report{
		"no dispatchers good":            {},
		"1 dispatcher good":              {good: 1},
		"2 dispatchers good, 1 disabled": {good: 2, disabled: 1},
	} {
		if got := r.counts(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// With --json each fault is one object, with all that the text has.
func TestPrintFaults(t *testing.T) {
	faults := []dispatchers.Fault{
		{File: "a.toml", Row: 2, Column: 3, Key: "timeout", Message: "is bad", Source: "timeout = x", Suggestion: "write it"},
		{File: "b.toml", Message: "is UTF-16, want UTF-8"},
	}
	var text, objects bytes.Buffer
	if err := printFaults(&text, false, "", faults); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); !strings.HasPrefix(got, "a.toml:2:3: timeout: is bad\n") || !strings.HasSuffix(got, "\nb.toml: is UTF-16, want UTF-8\n") {
		t.Errorf("text %q", got)
	}
	if err := printFaults(&objects, true, "", faults); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(objects.String()), "\n")
	if len(lines) != len(faults) {
		t.Fatalf("%d objects", len(lines))
	}
	for i, want := range []map[string]any{
		{"file": "a.toml", "row": 2.0, "column": 3.0, "key": "timeout", "message": "is bad", "source": "timeout = x", "suggestion": "write it"},
		{"file": "b.toml", "message": "is UTF-16, want UTF-8"},
	} {
		var got map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("object %d (-want +got):\n%s", i, diff)
		}
	}
}
