package store_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// recorded reads a journal that a daemon of commit 0c8c869 wrote.
func recorded(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// dump writes down all that a state says.
func dump(s *jobs.State, r store.Report) string {
	var out strings.Builder
	fmt.Fprintf(&out, "records %d, torn %d, lost %v\n", r.Records, r.Torn, r.Lost)
	text := func(v any) []byte {
		raw, _ := json.Marshal(v)
		return raw
	}
	for _, j := range s.List(ipc.JobFilter{Limit: 1000}) {
		fmt.Fprintf(&out, "job %s\n", text(j.State()))
	}
	for j := range s.Open() {
		fmt.Fprintf(&out, "open %d %s\n", j.State().Seq, j.ID())
	}
	fmt.Fprintf(&out, "paused %v\n", s.Paused())
	snap := s.Snapshot()
	for _, k := range slices.SortedFunc(maps.Keys(snap.Keys), func(x, y store.Key) int { return strings.Compare(x.Key, y.Key) }) {
		v := snap.Keys[k]
		fmt.Fprintf(&out, "key %d %s %s: job %s, hash %s, at %d\n", k.UID, k.Dispatcher, k.Key, v.Job, v.Hash, v.At)
	}
	for _, name := range slices.Sorted(maps.Keys(snap.Cursors)) {
		fmt.Fprintf(&out, "cursor %s %s\n", name, text(snap.Cursors[name]))
	}
	return out.String()
}

// Journals of the release before this state (commit 0c8c869), in use, closed in
// order and begun with a snapshot, replay to what that release made of them: the
// texts beside them were written by it. And a line is written again as that
// release wrote it, so that it can read ours after an upgrade that is taken back.
func TestReleaseBefore(t *testing.T) {
	files, err := filepath.Glob("testdata/journal-0c8c869-*.gz")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(path, func(t *testing.T) {
			text := recorded(t, path)
			want, err := os.ReadFile(strings.TrimSuffix(path, ".gz") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			s := jobs.New(store.Retention{})
			report := replayed(text, s)
			if diff := cmp.Diff(string(want), dump(s, report)); diff != "" {
				t.Errorf("replay (-release +now):\n%s", diff)
			}
			for line := range bytes.Lines(bytes.TrimRight(text, "\x00")) {
				rec, err := store.DecodeLine(bytes.TrimSuffix(line, []byte("\n")))
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				again, err := store.AppendLine(nil, rec)
				if err != nil || !bytes.Equal(again, line) {
					t.Errorf("written again (%v):\n%s%s", err, line, again)
				}
			}
		})
	}
}
