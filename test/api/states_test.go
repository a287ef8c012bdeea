package api

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// A list of states on the wire is all of them, in the order of a job's life: a
// tag cannot be computed, so this holds each against ipc.States.
func TestEnumsOfStates(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var want []any
	for _, s := range ipc.States() {
		want = append(want, string(s))
	}
	lists := 0
	each(doc, "", func(path string, enum []any) {
		if slices.Contains(enum, any(string(ipc.TimedOut))) {
			lists++
			if !slices.Equal(enum, want) {
				t.Errorf("%s lists %v, want %v", path, enum, want)
			}
		}
	})
	if lists < 3 { // a job, a notified job, the filter of jobs
		t.Errorf("only %d lists of states", lists)
	}
}

// each calls fn for each enum of a JSON document.
func each(v any, path string, fn func(path string, enum []any)) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if list, ok := member.([]any); ok && name == "enum" {
				fn(path, list)
			}
			each(member, path+"/"+name, fn)
		}
	case []any:
		for i, item := range v {
			each(item, fmt.Sprintf("%s/%d", path, i), fn)
		}
	}
}

// The README, or a page of docs/, draws how a job goes from state to state.
func TestStatesAreDrawn(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, section, ok := strings.Cut(string(text), "\n## A job's states\n")
		if !ok {
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, s := range ipc.States() {
			if !strings.Contains(section, string(s)) {
				t.Errorf("%s: %q is not among a job's states", page, s)
			}
		}
		return
	}
	t.Error(`no page has the section "A job's states"`)
}
