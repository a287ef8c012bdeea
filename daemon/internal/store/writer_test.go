package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// opened opens a journal on a disk in memory and starts its writer.
func opened(t *testing.T, d *store.MemDisk, b *jobs.State) (*store.Journal, store.Report) {
	t.Helper()
	j, report, err := store.OpenOn(d, 2*store.Page, b.Replay())
	if err != nil {
		t.Fatal(err)
	}
	return j, report
}

// must appends and wants it done.
func must(t *testing.T, j *store.Journal, b *jobs.State, r store.Record) {
	t.Helper()
	if _, err := b.Apply(r); err != nil {
		t.Fatal(err)
	}
	if err := append1(t, j, r); err != nil {
		t.Fatal(err)
	}
}

func accept(id ulid.ULID) store.Record {
	return store.Record{Op: store.OpAccept, ID: id, Job: &store.Job{ID: id, Dispatcher: "op", State: ipc.Queued}}
}

// On a full disk nothing is accepted, and all that was accepted starts and ends
// in the space that was set aside. With space again, jobs are accepted again.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := store.NewMemDisk(), jobs.New(store.Retention{})
		j, _ := opened(t, d, b)
		var full []error
		j.SetOnFull(func(err error) { full = append(full, err) })
		j.SetOnFail(func(err error) { t.Errorf("broken: %v", err) })
		var ids []ulid.ULID
		for range 300 {
			ids = append(ids, ulid.Make())
			must(t, j, b, accept(ids[len(ids)-1]))
		}
		d.Full = true
		var err error
		for err == nil { // what is left of what was allocated ahead
			id := ulid.Make()
			if err = append1(t, j, accept(id)); err == nil {
				ids = append(ids, id)
				_, _ = b.Apply(accept(id))
			}
		}
		if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrInDoubt) {
			t.Fatalf("accept on a full disk: %v", err)
		}
		for _, id := range ids {
			must(t, j, b, store.Record{Op: store.OpStart, ID: id, At: time.Now().UnixNano(), Attempt: 1})
			run := &store.Outcome{StartedAt: time.Now().UnixNano(), EndedAt: time.Now().UnixNano(), Error: &ipc.JobError{Kind: ipc.KindExitStatus, Message: "exit status 1"}}
			must(t, j, b, store.Record{Op: store.OpEnd, ID: id, At: time.Now().UnixNano(), State: ipc.Failed, Run: run})
		}
		if err := append1(t, j, store.Record{Op: store.OpPause, Dispatcher: "op"}); err == nil {
			t.Fatal("a full disk took a pause")
		}
		d.Full = false
		time.Sleep(2 * time.Second)
		must(t, j, b, accept(ulid.Make()))
		if len(full) != 2 || full[0] == nil || full[1] != nil {
			t.Errorf("said of the space: %v", full)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again := jobs.New(store.Retention{})
		if r := replayed(d.Names["journal"].Data, again); r.Damaged || again.History() != len(ids) || again.OpenCount() != 1 {
			t.Errorf("%+v: %d ended of %d, %d open", r, again.History(), len(ids), again.OpenCount())
		}
	})
}

// Who makes space by removing the journal gets one that has space: what is put in its
// place again is no more full than one that was asked for space.
func TestFullDiskJournalRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := store.NewMemDisk(), jobs.New(store.Retention{})
		j, _ := opened(t, d, b)
		var full []error
		j.SetOnFull(func(err error) { full = append(full, err) })
		j.SetOnFail(func(err error) { t.Errorf("broken: %v", err) })
		must(t, j, b, accept(ulid.Make()))
		d.Full = true
		for append1(t, j, accept(ulid.Make())) == nil { // what is left of what was allocated ahead
		}
		d.Full = false
		delete(d.Names, "journal")
		j.Look()
		synctest.Wait()
		if len(full) != 2 || full[0] == nil || full[1] != nil {
			t.Errorf("said of the space: %v", full)
		}
		time.Sleep(2 * time.Second)
		must(t, j, b, accept(ulid.Make()))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// calls notes the calls of a disk, and fails some.
type calls struct {
	mu   sync.Mutex
	list []string
	fail func(op string) error
}

func (c *calls) asked(op string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, op)
	return c.fail(op)
}

// A file whose sync failed is never written or synced again, whatever comes;
// who waits is told that nobody knows, and a rewrite is the cure.
func TestFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := store.NewMemDisk(), jobs.New(store.Retention{})
		j, _ := opened(t, d, b)
		must(t, j, b, accept(ulid.Make()))
		broken := 0
		j.SetOnFail(func(error) { broken++ })
		c := &calls{fail: func(op string) error {
			if op == "sync" {
				return syscall.EIO
			}
			return nil
		}}
		d.Asked = c.asked
		if err := append1(t, j, accept(ulid.Make())); !errors.Is(err, store.ErrInDoubt) {
			t.Fatalf("failed sync: %v", err)
		}
		c.fail, c.list = func(string) error { return nil }, nil
		if err := append1(t, j, accept(ulid.Make())); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("append to a broken journal: %v", err)
		}
		time.Sleep(5 * time.Second)
		if len(c.list) > 0 || broken != 1 {
			t.Fatalf("calls on a broken file: %v; told %d times", c.list, broken)
		}
		if err := rewrite1(j, b); err != nil {
			t.Fatal(err)
		}
		if c.list[0] == "sync" || c.list[0] == "write" || !slices.Contains(c.list, "create") {
			t.Fatalf("the cure: %v", c.list)
		}
		must(t, j, b, accept(ulid.Make()))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if r := replayed(d.Names["journal"].Data, jobs.New(store.Retention{})); r.Damaged {
			t.Errorf("after the cure: %+v", r)
		}
	})
}

func rewrite1(j *store.Journal, b *jobs.State) error {
	done := make(chan error, 1)
	j.Rewrite(b.Snapshot(), func(err error) { done <- err })
	return <-done
}

// When the directory cannot be synced after a rewrite, the new file may vanish
// with the power and the old one has lost its name: neither takes a record.
func TestRewriteNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := store.NewMemDisk(), jobs.New(store.Retention{})
		j, _ := opened(t, d, b)
		must(t, j, b, accept(ulid.Make()))
		d.Asked = func(op string) error {
			if op == "syncdir" {
				return syscall.EIO
			}
			return nil
		}
		if rewrite1(j, b) == nil {
			t.Fatal("a rewrite without a durable name worked")
		}
		if err := append1(t, j, accept(ulid.Make())); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("accepted without a durable file: %v", err)
		}
		d.Asked = func(string) error { return nil }
		if err := rewrite1(j, b); err != nil {
			t.Fatal(err)
		}
		must(t, j, b, accept(ulid.Make()))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A rewrite that fails leaves nothing behind on a disk that may be full, and
// the old file in use.
func TestRewriteFails(t *testing.T) {
	for _, op := range []string{"create", "write", "allocate", "sync", "rename"} {
		synctest.Test(t, func(t *testing.T) {
			d, b := store.NewMemDisk(), jobs.New(store.Retention{})
			j, _ := opened(t, d, b)
			must(t, j, b, accept(ulid.Make()))
			d.Asked = func(called string) error {
				if op == called {
					return syscall.ENOSPC
				}
				return nil
			}
			if rewrite1(j, b) == nil {
				t.Fatalf("%s fails, the rewrite works", op)
			}
			d.Asked = func(string) error { return nil }
			if d.Names["journal.new"] != nil {
				t.Errorf("%s fails, and its file stays", op)
			}
			must(t, j, b, accept(ulid.Make()))
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			again := jobs.New(store.Retention{})
			if r := replayed(d.Names["journal"].Data, again); r.Damaged || again.OpenCount() != 2 {
				t.Errorf("%s: %+v, %d open", op, r, again.OpenCount())
			}
		})
	}
}

// A journal that cannot be written at the start is open all the same: what it
// holds is known, and a rewrite makes it whole. A damaged one is kept first.
func TestUnwritableStart(t *testing.T) {
	for _, op := range []string{"keep", "create", "write", "allocate", "sync", "rename", "syncdir"} {
		synctest.Test(t, func(t *testing.T) {
			d, b := store.NewMemDisk(), jobs.New(store.Retention{})
			j, _ := opened(t, d, b)
			must(t, j, b, accept(ulid.Make()))
			must(t, j, b, accept(ulid.Make()))
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			text := d.Names["journal"].Data
			text[len(text)/2] ^= 1
			d.Asked = func(called string) error {
				if op == called {
					return syscall.ENOSPC
				}
				return nil
			}
			b = jobs.New(store.Retention{})
			j, report := opened(t, d, b)
			var told error
			j.SetOnFail(func(err error) { told = err })
			if !report.Damaged || told == nil || b.OpenCount() != 1 {
				t.Errorf("%s: %+v, told %v, %d open", op, report, told, b.OpenCount())
			}
			if err := append1(t, j, accept(ulid.Make())); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: accepted: %v", op, err)
			}
			d.Asked = func(string) error { return nil }
			if err := rewrite1(j, b); err != nil {
				t.Errorf("%s: the cure: %v", op, err)
			}
			must(t, j, b, accept(ulid.Make()))
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for name, n := range d.Names {
				if name != "journal" && name != "id" && slices.Equal(n.Data, text) {
					kept++
				}
			}
			if kept == 0 {
				t.Errorf("%s: the damaged file was not kept", op)
			}
		})
	}
}

// done is never called by Append itself: who appends may hold what done wants.
func TestAppendNeverCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _ := opened(t, store.NewMemDisk(), jobs.New(store.Retention{}))
		var mu sync.Mutex
		for _, dur := range []mode.Durability{mode.Disk, mode.Relaxed, mode.Memory} {
			told := make(chan error, 1)
			mu.Lock()
			j.Append(accept(ulid.Make()), dur, true, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				told <- err
			})
			mu.Unlock()
			if err := <-told; err != nil {
				t.Error(dur, err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		told := make(chan error, 1)
		mu.Lock()
		j.Append(accept(ulid.Make()), mode.Disk, true, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told <- err
		})
		mu.Unlock()
		if err := <-told; !errors.Is(err, store.ErrUnavailable) {
			t.Error("append to a closed journal:", err)
		}
	})
}

// A relaxed record is on the disk within a second, an end nobody waits for
// within 100 ms.
func TestSyncedLater(t *testing.T) {
	for dur, within := range map[mode.Durability]time.Duration{mode.Relaxed: store.RelaxedSync, mode.Disk: store.LazySync} {
		synctest.Test(t, func(t *testing.T) {
			d := store.NewMemDisk()
			j, _ := opened(t, d, jobs.New(store.Retention{}))
			synced := time.Time{}
			d.Asked = func(op string) error {
				if op == "sync" {
					synced = time.Now()
				}
				return nil
			}
			start := time.Now()
			j.Append(accept(ulid.Make()), dur, false, func(error) {})
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if took := synced.Sub(start); took != within {
				t.Errorf("%s: synced after %s", dur, took)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What is appended while a rewrite has its place in the queue is in the snapshot
// or in the new file: nothing is lost between them.
func TestAppendDuringRewrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := store.NewMemDisk(), jobs.New(store.Retention{})
		j, _ := opened(t, d, b)
		var ids []ulid.ULID
		for range 50 {
			id := ulid.Make()
			ids = append(ids, id)
			_, _ = b.Apply(accept(id))
			j.Append(accept(id), mode.Disk, true, func(err error) {
				if err != nil {
					t.Errorf("%v", err)
				}
			})
			if len(ids)%10 == 5 {
				j.Rewrite(b.Snapshot(), func(error) {})
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again := jobs.New(store.Retention{})
		j, report := opened(t, d, again)
		defer func() { _ = j.Close() }()
		if report.Damaged {
			t.Errorf("damaged: %v", report.Lost)
		}
		for _, id := range ids {
			if _, ok := again.Job(id); !ok {
				t.Errorf("job %s is lost", id)
			}
		}
	})
}

// What may wait for its sync is told when it has had it, not before: by itself,
// when somebody is in a hurry, by an urgent record behind it, by a rewrite, and
// at the end.
func TestToldWhenSynced(t *testing.T) {
	nothing := func(*store.Journal, *jobs.State) {}
	for name, way := range map[string]struct {
		then   func(*store.Journal, *jobs.State)
		within time.Duration
	}{
		"by itself":       {nothing, store.LazySync},
		"hurry":           {func(j *store.Journal, _ *jobs.State) { j.Hurry() }, 0},
		"an urgent one":   {func(j *store.Journal, _ *jobs.State) { j.Append(accept(ulid.Make()), mode.Disk, true, func(error) {}) }, 0},
		"a rewrite":       {func(j *store.Journal, b *jobs.State) { j.Rewrite(b.Snapshot(), func(error) {}) }, 0},
		"a close":         {func(j *store.Journal, _ *jobs.State) { _ = j.Close() }, 0},
		"hurry, too soon": {nil, 0}, // at once, when it is perhaps not even written
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, b := store.NewMemDisk(), jobs.New(store.Retention{})
				j, _ := opened(t, d, b)
				id := ulid.Make()
				must(t, j, b, accept(id))
				end := store.Record{Op: store.OpEnd, ID: id, At: 1, State: ipc.Succeeded, Run: &store.Outcome{}}
				if _, err := b.Apply(end); err != nil {
					t.Fatal(err)
				}
				start, took := time.Now(), time.Duration(-1)
				j.Append(end, mode.Disk, false, func(err error) {
					took = time.Since(start)
					safe := jobs.New(store.Retention{})
					replayed(d.Names["journal"].Safe, safe)
					if err != nil || safe.History() != 1 {
						t.Errorf("told with %v, and the disk has %d ends for certain", err, safe.History())
					}
				})
				if way.then == nil {
					j.Hurry()
				} else {
					synctest.Wait()
					way.then(j, b)
				}
				time.Sleep(store.LazySync)
				synctest.Wait()
				if took != way.within {
					t.Errorf("told after %s, want %s", took, way.within)
				}
				_ = j.Close()
			})
		})
	}
}

// A sync that was put off and is not made is told to those that waited for it:
// they may be there after a crash, or not. It fails, or the file is given up
// before, for an end that is longer than what was set aside on a full disk.
func TestLateSyncFails(t *testing.T) {
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d, b := store.NewMemDisk(), jobs.New(store.Retention{})
			j, _ := opened(t, d, b)
			id := ulid.Make()
			must(t, j, b, accept(id))
			var late, long error
			j.Append(store.Record{Op: store.OpStart, ID: id, Attempt: 1}, mode.Disk, false, func(err error) { late = err })
			synctest.Wait()
			if d.Full = full; full {
				run := &store.Outcome{Result: fmt.Appendf(nil, "%q", strings.Repeat("x", 4*store.Page))}
				j.Append(store.Record{Op: store.OpEnd, ID: id, State: ipc.Succeeded, Run: run}, mode.Disk, true, func(err error) { long = err })
			} else {
				d.Asked = func(op string) error {
					if op == "sync" {
						return syscall.EIO
					}
					return nil
				}
				j.Wake() // and the writer sees that
			}
			time.Sleep(store.LazySync)
			synctest.Wait()
			if !errors.Is(late, store.ErrInDoubt) || full != errors.Is(long, store.ErrUnavailable) {
				t.Errorf("full %v: told %v; the long one: %v", full, late, long)
			}
			_ = j.Close()
		})
	}
}

// Under load, when the writer never rests, a sync that was put off is made all
// the same.
func TestLateSyncUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := store.NewMemDisk()
		j, _ := opened(t, d, jobs.New(store.Retention{}))
		d.Asked = func(op string) error {
			if op == "write" {
				time.Sleep(30 * time.Millisecond)
			}
			return nil
		}
		start, took := time.Now(), time.Duration(-1)
		var again func(error)
		again = func(error) { // there is always one more
			if time.Since(start) < 5*time.Second {
				j.Append(store.Record{Op: store.OpResume, Dispatcher: "op"}, mode.Relaxed, false, again)
			}
		}
		again(nil)
		j.Append(store.Record{Op: store.OpResume, Dispatcher: "op"}, mode.Disk, false, func(error) { took = time.Since(start) })
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if took < 0 || took > 2*store.LazySync {
			t.Errorf("synced after %s", took)
		}
		_ = j.Close()
	})
}
