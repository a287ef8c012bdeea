package dispatchers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is one part of testdata/faults.txtar.
type entry struct{ name, text string }

// readEntries splits a txtar file: a comment, then entries headed "-- name --".
func readEntries(t *testing.T, path string) (comment string, entries []entry) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, ok := strings.CutPrefix(line, "-- ")
		if name, ends := strings.CutSuffix(name, " --\n"); ok && ends {
			entries = append(entries, entry{name: name})
		} else if len(entries) == 0 {
			comment += line
		} else {
			entries[len(entries)-1].text += line
		}
	}
	return comment, entries
}

// TestFaults loads each story of testdata/faults.txtar, a set of files up to
// the next "want", and compares the rendered faults. UPDATE_GOLDEN=1 writes
// them anew.
func TestFaults(t *testing.T) {
	const golden = "testdata/faults.txtar"
	comment, entries := readEntries(t, golden)
	var story []entry
	for i, f := range entries {
		name, isWant := strings.CutPrefix(f.name, "want ")
		if !isWant {
			story = append(story, f)
			continue
		}
		files := story
		story = nil
		t.Run(name, func(t *testing.T) {
			got := rendered(t, files)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				entries[i].text = got
			} else if diff := cmp.Diff(f.text, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		for _, f := range entries {
			comment += "-- " + f.name + " --\n" + f.text
		}
		write(t, golden, comment)
	}
}

// rendered loads files from two directories, lib and etc, and renders faults.
func rendered(t *testing.T, files []entry) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		write(t, filepath.Join(root, f.name), strings.TrimSuffix(f.text, "\n"))
	}
	c := Load(Options{Dirs: []string{filepath.Join(root, "lib"), filepath.Join(root, "etc")}, SkipOwnership: true})
	var b strings.Builder
	for _, f := range c.Faults {
		b.WriteString(f.Render() + "\n")
	}
	return strings.ReplaceAll(b.String(), root+"/", "")
}

// write makes a file and its directories, not writable by others.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
