// Package api keeps the API as others see it: the shapes on the wire, the
// OpenAPI description, the table of errors, and the exported names of the
// packages that other programs import. Each stands in a golden file, so that a
// change is seen by who makes it and by who reads his patch.
//
// go test ./test/api -update writes the files. It refuses to take away or to
// change what is on the wire: fields are added, never changed. Who must do so
// removes the file first.
package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	os.Exit(m.Run())
}

// updating reports whether the golden files are to be written.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// golden compares a text with its golden file. What may not be taken away from
// the file is told by lost, nil for nothing.
func golden(t *testing.T, name string, got []byte, lost func(old, got []byte) []string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	want, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err == nil && lost != nil {
		if gone := lost(want, got); len(gone) > 0 {
			t.Errorf("%s: taken away or changed, which breaks those who read it:\n%s", name, strings.Join(gone, "\n"))
			return
		}
	}
	if updating() {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v; write it by -update", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s is not as it was; if that is meant, write it anew by -update (-was +is):\n%s", name, diff)
	}
}

// pretty gives JSON in one form: indented, with its names in order.
func pretty(t *testing.T, raw []byte) []byte {
	t.Helper()
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// lostJSON lists what one JSON document has and the other lacks or has with
// another value.
func lostJSON(old, got []byte) []string {
	var a, b any
	if err := errors.Join(json.Unmarshal(old, &a), json.Unmarshal(got, &b)); err != nil {
		return []string{err.Error()}
	}
	return lost("", a, b)
}

// lost compares two JSON values.
func lost(at string, old, got any) []string {
	switch o := old.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{at + ": no object any more"}
		}
		var gone []string
		for _, name := range slices.Sorted(maps.Keys(o)) {
			if v, ok := g[name]; ok {
				gone = append(gone, lost(at+"/"+name, o[name], v)...)
			} else {
				gone = append(gone, at+"/"+name+": gone")
			}
		}
		return gone
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) < len(o) {
			return []string{at + ": no such list any more"}
		}
		var gone []string
		for i := range o {
			gone = append(gone, lost(fmt.Sprintf("%s/%d", at, i), o[i], g[i])...)
		}
		return gone
	}
	if old != got {
		return []string{fmt.Sprintf("%s: was %v, is %v", at, old, got)}
	}
	return nil
}

// lostLines lists the lines that one text has and the other lacks.
func lostLines(old, got []byte) []string {
	has := map[string]bool{}
	for line := range strings.Lines(string(got)) {
		has[line] = true
	}
	var gone []string
	for line := range strings.Lines(string(old)) {
		if !has[line] {
			gone = append(gone, strings.TrimSpace(line))
		}
	}
	return gone
}

// What the golden files are for: nothing is lost unseen.
func TestLost(t *testing.T) {
	for _, c := range []struct {
		old, got string
		gone     int
	}{
		{`{"a":1,"b":[1,{"c":"x"}]}`, `{"b":[1,{"c":"x","d":null}],"a":1,"e":{}}`, 0},
		{`{"a":1,"b":2}`, `{"a":1}`, 1},
		{`{"a":1}`, `{"a":"1"}`, 1},
		{`{"a":1}`, `{"a":2}`, 1},
		{`{"a":null}`, `{"a":false}`, 1},
		{`{"a":{"b":1}}`, `{"a":[]}`, 1},
		{`{"a":[1,2]}`, `{"a":[1]}`, 1},
		{`{"a":[1]}`, `{"a":[2,1]}`, 1},
		{`[]`, `{}`, 1},
	} {
		if gone := lostJSON([]byte(c.old), []byte(c.got)); len(gone) != c.gone {
			t.Errorf("%s → %s: lost %q", c.old, c.got, gone)
		}
	}
	if gone := lostLines([]byte("a\nb\n"), []byte("b\nc\n")); len(gone) != 1 || gone[0] != "a" {
		t.Errorf("lost lines %q", gone)
	}
}
