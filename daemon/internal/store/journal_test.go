package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// append1 appends and waits for the answer.
func append1(t *testing.T, j *store.Journal, r store.Record) error {
	t.Helper()
	done := make(chan error, 1)
	j.Append(r, mode.Disk, true, func(err error) { done <- err })
	return <-done
}

// sample are the records of three jobs: one ended, one running, one queued.
func sample() ([]store.Record, []ulid.ULID) {
	ids := []ulid.ULID{ulid.Make(), ulid.Make(), ulid.Make()}
	var recs []store.Record
	for _, id := range ids {
		recs = append(recs, store.Record{Op: store.OpAccept, ID: id, At: 1, Job: &store.Job{ID: id, Dispatcher: "op", State: ipc.Queued, CreatedAt: 1, Arguments: []byte(`{"a":1}`)}})
	}
	recs = append(recs,
		store.Record{Op: store.OpStart, ID: ids[0], At: 2, Attempt: 1}, store.Record{Op: store.OpStart, ID: ids[1], At: 2, Attempt: 1},
		store.Record{Op: store.OpEnd, ID: ids[0], At: 3, State: ipc.Succeeded, Run: &store.Outcome{StartedAt: 2, EndedAt: 3, ExitCode: new(0)}},
		store.Record{Op: store.OpPause, Dispatcher: "op"})
	return recs, ids
}

// written makes a state directory with the sample in it, and gives its path.
func written(t *testing.T) (string, []ulid.ULID) {
	t.Helper()
	dir := t.TempDir()
	d, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j, report, err := d.OpenJournal(jobs.New(store.Retention{}).Replay(), nil)
	if err != nil || !report.Fresh {
		t.Fatal(report, err)
	}
	recs, ids := sample()
	for _, r := range recs {
		if err := append1(t, j, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(j.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	return dir, ids
}

// reopen replays a directory's journal.
func reopen(t *testing.T, dir string) (*jobs.State, store.Report) {
	t.Helper()
	d, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := jobs.New(store.Retention{})
	j, report, err := d.OpenJournal(b.Replay(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	return b, report
}

func TestReplay(t *testing.T) {
	dir, ids := written(t)
	for range 2 { // the second replay reads the first one's snapshot
		b, report := reopen(t, dir)
		if report.Damaged || report.Torn != 0 {
			t.Errorf("report: %+v", report)
		}
		want := []ipc.State{ipc.Succeeded, ipc.Running, ipc.Queued}
		for i, id := range ids {
			if job, ok := find(b, id); !ok || job.State != want[i] || string(job.Arguments) != `{"a":1}` {
				t.Errorf("job %d: %+v", i, job)
			}
		}
		if len(b.Paused()) != 1 || b.OpenCount() != 2 || b.History() != 1 {
			t.Errorf("paused %v, open %d, history %d", b.Paused(), b.OpenCount(), b.History())
		}
	}
}

// find gives a job as its records say.
func find(s *jobs.State, id ulid.ULID) (*store.Job, bool) {
	j, known := s.Job(id)
	if !known {
		return nil, false
	}
	return j.State(), true
}

// replayed replays a journal's text.
func replayed(text []byte, b *jobs.State) store.Report {
	return store.ReplayFrom(bytes.NewReader(text), int64(len(text)), b.Replay())
}

// A journal that vanished beside a known store, or has nothing in it, is said
// loudly, once, and the store works.
func TestVanished(t *testing.T) {
	for what, text := range map[string][]byte{
		"missing": nil, "empty": {}, "zeros": make([]byte, 3*store.Page), "text": []byte("a\nb\n"),
		"a page of text": bytes.Repeat([]byte("text"), store.Page/4), "text and zeros": append([]byte("text\n"), make([]byte, 2*store.Page-5)...),
	} {
		dir, _ := written(t)
		path := filepath.Join(dir, "journal")
		err := os.Remove(path)
		if text != nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, report := reopen(t, dir); !report.Damaged || len(report.Lost) == 0 || report.Fresh {
			t.Errorf("%s: %+v", what, report)
		}
		if _, report := reopen(t, dir); report.Damaged || report.Torn > 0 {
			t.Errorf("%s, the start after: %+v", what, report)
		}
	}
}

func TestRetention(t *testing.T) {
	b := jobs.New(store.Retention{Count: 3, Age: time.Hour, Bytes: 1 << 20})
	now := time.Now()
	for i := range 5 {
		id := ulid.Make()
		if _, err := b.Apply(store.Record{Op: store.OpDone, ID: id, Job: &store.Job{ID: id, State: ipc.Failed, CreatedAt: now.UnixNano() + int64(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if gone := b.Prune(0); len(gone) != 2 || b.History() != 3 {
		t.Errorf("gone %d, left %d", len(gone), b.History())
	}
	if gone := b.Prune(2 * time.Hour); len(gone) != 3 {
		t.Errorf("gone by age: %d", len(gone))
	}
}

// A damaged journal stays under another name, and what is intact goes on in a
// new one. The next start finds nothing wrong.
func TestKeptAside(t *testing.T) {
	dir, ids := written(t)
	path := filepath.Join(dir, "journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[bytes.Index(text, []byte(ids[2].String()))] ^= 1 // of the queued job
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	b, report := reopen(t, dir)
	kept, err := os.ReadFile(report.KeptAs)
	if err != nil || !bytes.Equal(kept, text) {
		t.Errorf("kept as %q: %v", report.KeptAs, err)
	}
	if !report.Damaged || b.OpenCount() != 1 || b.History() != 1 {
		t.Errorf("%+v: %d open, %d ended", report, b.OpenCount(), b.History())
	}
	if _, again := reopen(t, dir); again.Damaged || again.Torn > 0 {
		t.Errorf("the start after: %+v", again)
	}
}
