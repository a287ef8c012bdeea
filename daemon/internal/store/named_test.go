package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
)

// A journal whose file is removed or replaced is put in its place again before it
// takes another record, when somebody asks, and before it is closed: what was
// accepted is there at the next start. What was put there instead is kept.
func TestJournalRemoved(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"removed":   func(path string) error { return os.Remove(filepath.Join(path, "journal")) },
		"moved":     func(path string) error { return os.Rename(filepath.Join(path, "journal"), filepath.Join(path, "x")) },
		"directory": func(path string) error { return os.Rename(path, path+".away") },
		"all":       func(path string) error { return os.RemoveAll(path) },
		"replaced": func(path string) error {
			name := filepath.Join(path, "journal")
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("foreign"), 0o600))
		},
	} {
		for _, then := range []string{"append", "look", "close"} {
			path := filepath.Join(t.TempDir(), "state")
			d, err := store.Open(path, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			j, _, err := d.OpenJournal(jobs.New(store.Retention{}).Replay(), nil)
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan string, 1)
			j.SetOnReinstated(func(aside string, err error) {
				if err != nil {
					t.Errorf("%s, %s: %v", what, then, err)
				}
				told <- aside
			})
			recs, ids := sample()
			for i, r := range recs {
				if err := append1(t, j, r); err != nil {
					t.Fatal(err)
				}
				if i != 3 {
					continue
				}
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
				if then == "look" {
					j.Look()
					<-told
					if _, err := os.Stat(filepath.Join(path, "journal")); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
				if then == "close" {
					break
				}
			}
			if err := errors.Join(j.Close(), d.Close()); err != nil {
				t.Fatal(err)
			}
			if then != "look" {
				if aside := <-told; (aside != "") != (what == "replaced") {
					t.Errorf("%s: kept as %q", what, aside)
				} else if aside != "" {
					if text, err := os.ReadFile(aside); err != nil || !bytes.Equal(text, []byte("foreign")) {
						t.Errorf("%s holds %q, %v", aside, text, err)
					}
				}
			}
			b, report := reopen(t, path)
			if report.Damaged || report.Fresh || len(report.Lost) > 0 {
				t.Errorf("%s, %s: %+v", what, then, report)
			}
			for i, id := range ids {
				if _, ok := find(b, id); !ok {
					t.Errorf("%s, %s: job %d is lost", what, then, i)
				}
			}
		}
	}
}
