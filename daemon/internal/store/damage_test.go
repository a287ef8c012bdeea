package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/test/box"
)

// specimen is a journal, and where the lines of each job are in it.
type specimen struct {
	text   []byte
	closed bool
	want   map[ulid.ULID]ipc.State
	lines  map[ulid.ULID][][2]int // from, to
	last   int                    // where the last batch begins
}

// makeSpecimen writes n jobs of all kinds, in batches of one to three records. The
// same seed gives the same ids.
func makeSpecimen(t *testing.T, seed uint64, n int, closed bool) *specimen {
	t.Helper()
	chance := rand.New(rand.NewPCG(seed, 9))
	newID := func() (id ulid.ULID) {
		for i := range id {
			id[i] = byte(chance.IntN(256))
		}
		id[0] &= 0x7f // the first digit of the text is at most 7
		return id
	}
	s := &specimen{closed: closed, want: map[ulid.ULID]ipc.State{}, lines: map[ulid.ULID][][2]int{}}
	synctest.Test(t, func(t *testing.T) {
		d := store.NewMemDisk()
		d.Put("id", []byte(newID().String()))
		j, _, err := store.OpenOn(d, store.Page, jobs.New(store.Retention{}).Replay())
		if err != nil {
			t.Fatal(err)
		}
		var ids []ulid.ULID
		add := func(recs ...store.Record) {
			for _, r := range recs {
				j.Append(r, mode.Disk, true, func(err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
		}
		for i := range n {
			id := newID()
			ids = append(ids, id)
			job := &store.Job{ID: id, Dispatcher: "op", State: ipc.Queued, CreatedAt: 1, Arguments: fmt.Appendf(nil, `{"a":%d}`, i)}
			add(store.Record{Op: store.OpAccept, ID: id, Job: job})
			s.want[id] = ipc.Queued
			switch i % 3 {
			case 1:
				add(store.Record{Op: store.OpStart, ID: ids[i], Attempt: 1}, store.Record{Op: store.OpJoin, ID: ids[i-1]})
				s.want[id] = ipc.Running
			case 2:
				add(store.Record{Op: store.OpStart, ID: id, Attempt: 1}, store.Record{Op: store.OpEnd, ID: id, State: ipc.Succeeded, Run: &store.Outcome{EndedAt: 3}}, store.Record{Op: store.OpPause, Dispatcher: "op"})
				s.want[id] = ipc.Succeeded
			}
		}
		s.text = bytes.Clone(d.Names["journal"].Data)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if closed {
			s.text = d.Names["journal"].Data
		}
	})
	s.index(t)
	return s
}

// index finds each job's lines.
func (s *specimen) index(t *testing.T) {
	t.Helper()
	for at := 0; at < len(s.text) && s.text[at] != 0; {
		n := bytes.IndexByte(s.text[at:], '\n')
		rec, err := store.DecodeLine(s.text[at : at+n])
		if err != nil {
			t.Fatal(err)
		}
		if rec.Index == 0 {
			s.last = at
		}
		if !rec.ID.IsZero() {
			s.lines[rec.ID] = append(s.lines[rec.ID], [2]int{at, at + n + 1})
		}
		at += n + 1
	}
}

// check replays a damaged text. Of what is in [from, to) nothing is expected;
// what is outside must be there, and a difference must be reported.
func (s *specimen) check(text []byte, hit func(from, to int) bool) (store.Report, error) {
	b := jobs.New(store.Retention{})
	report := replayed(text, b)
	return report, s.judge(text, b, report, hit)
}

// judge is the whole of check.
func (s *specimen) judge(text []byte, b *jobs.State, report store.Report, hit func(from, to int) bool) error {
	loud := report.Damaged || report.Torn > 0
	if report.Damaged != (len(report.Lost) > 0) {
		return fmt.Errorf("damaged %v, said %v", report.Damaged, report.Lost)
	}
	tail := s.tail(text, report, hit)
	suspects := map[ulid.ULID]bool{}
	for _, id := range report.Suspects {
		suspects[id] = true
	}
	for id, want := range s.want {
		job, known := find(b, id)
		whole, touched, torn := true, false, false
		for i, l := range s.lines[id] {
			torn = torn || l[1] > tail
			if hit(l[0], l[1]) || torn {
				touched = true
				whole = whole && i > 0
			}
		}
		switch {
		case known && !bytes.Equal(job.Arguments, s.arguments(id)):
			return fmt.Errorf("job %s: arguments %s", id, job.Arguments)
		case whole && !known:
			return fmt.Errorf("job %s is lost, its acceptance was not touched: %v", id, report.Lost)
		case known && touched && !torn && want != ipc.Queued && job.State == ipc.Queued && !suspects[id]:
			return fmt.Errorf("job %s has run, is queued, and no suspect: %v", id, report.Lost)
		case !touched && job.State != want:
			return fmt.Errorf("job %s: %s instead of %s, its lines were not touched", id, job.State, want)
		case (!known || job.State != want) && !loud:
			return fmt.Errorf("job %s: changed in silence", id)
		case !known && report.Damaged && !slices.ContainsFunc(report.Lost, func(m string) bool { return strings.Contains(m, "missing") || strings.Contains(m, id.String()) }):
			return fmt.Errorf("job %s is lost, and the report does not say so: %v", id, report.Lost)
		}
	}
	if b.OpenCount()+b.History() > len(s.want) {
		return fmt.Errorf("%d open and %d ended jobs of %d", b.OpenCount(), b.History(), len(s.want))
	}
	return nil
}

// tail is where a torn tail may begin: with the last batch, which nobody was
// answered yet; or earlier, where nothing is left behind the damage, since that
// looks like a write that never was.
func (s *specimen) tail(text []byte, r store.Report, hit func(from, to int) bool) int {
	if r.Torn == 0 || r.Damaged || s.closed {
		return len(text)
	}
	hole := len(bytes.TrimRight(text, "\x00")) - int(r.Torn)
	for _, lines := range s.lines {
		for _, l := range lines {
			if l[1] > hole && l[0] < s.last && !hit(l[0], l[1]) {
				return s.last
			}
		}
	}
	return min(hole, s.last)
}

func (s *specimen) arguments(id ulid.ULID) []byte {
	l := s.lines[id][0]
	rec, _ := store.DecodeLine(s.text[l[0] : l[1]-1])
	return rec.Job.Arguments
}

func nowhere(int, int) bool { return false }

// both runs a test on a journal that was closed in order, and on one in use; of
// several seeds in a soak.
func both(t *testing.T, n int, test func(t *testing.T, s *specimen)) {
	for seed := range uint64(box.Sample(10)) {
		for _, closed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %d", map[bool]string{true: "closed", false: "in use"}[closed], seed), func(t *testing.T) {
				t.Parallel()
				s := makeSpecimen(t, seed, n, closed)
				if r, err := s.check(s.text, nowhere); err != nil || r.Damaged || r.Torn != 0 {
					t.Fatalf("without damage: %v, %+v", err, r)
				}
				test(t, s)
			})
		}
	}
}

// lineEnd reports whether a byte is the newline between two lines of which the
// second is no part of the last batch, unless it begins that: nothing else says
// whether what is behind it was answered.
func (s *specimen) lineEnd(at int) bool {
	return s.text[at] == '\n' && at < len(s.text)-1 && (s.closed || at < s.last)
}

// Each flipped bit is reported, and harms no job but those of its line.
func TestEveryBit(t *testing.T) {
	both(t, 7, func(t *testing.T, s *specimen) {
		text := bytes.Clone(s.text)
		written := len(bytes.TrimRight(text, "\x00"))
		for bit := range len(text) * 8 {
			at := bit / 8
			if at > written+20 && at < len(text)-20 { // more of the same zeros
				continue
			}
			if !box.Soak && bit%7 != 0 {
				continue
			}
			text[at] ^= 1 << (bit % 8)
			// A newline is between two lines: each is whole by its checksum.
			hit := func(from, to int) bool { return at >= from && at < to && !s.lineEnd(at) }
			r, err := s.check(text, hit)
			moved := text[at] == '\n' || text[at] == 0 // and so two lines of which none is whole
			switch {
			case err != nil:
			case !r.Damaged && r.Torn == 0:
				err = errors.New("not noticed")
			case s.closed && !r.Damaged:
				err = errors.New("taken for a torn tail, of a journal that was closed")
			case s.lineEnd(at) && len(r.Suspects) > 0:
				err = fmt.Errorf("a line's end makes %d jobs suspect", len(r.Suspects))
			case len(r.Suspects) > 2 && !moved && at < s.last: // behind it nothing says that this was the end
				err = fmt.Errorf("one bit makes %d jobs suspect", len(r.Suspects))
			}
			if err != nil {
				t.Fatalf("bit %d of byte %d: %v\n%s", bit%8, at, err, text[max(0, at-200):min(len(text), at+200)])
			}
			text[at] ^= 1 << (bit % 8)
		}
	})
}

// Many bits at once, anywhere.
func TestRandomFlips(t *testing.T) {
	both(t, 20, func(t *testing.T, s *specimen) {
		r := rand.New(rand.NewPCG(1, 1))
		for n := range box.Sample(5000) {
			text := bytes.Clone(s.text)
			var at []int
			for range 1 + r.IntN(8) {
				at = append(at, r.IntN(len(text)))
				text[at[len(at)-1]] ^= 1 << r.IntN(8)
			}
			hit := func(from, to int) bool {
				return slices.ContainsFunc(at, func(a int) bool { return a >= from && a < to })
			}
			if _, err := s.check(text, hit); err != nil {
				t.Fatalf("flips %d at %v: %v", n, at, err)
			}
		}
	})
}

// A page, or a few sectors, that became zeros, garbage, or a copy of others.
func TestLostPages(t *testing.T) {
	both(t, 45, func(t *testing.T, s *specimen) {
		r := rand.New(rand.NewPCG(2, 2))
		for from := 0; from < len(s.text); from += store.Sector {
			for _, size := range []int{store.Sector, store.Page, 3 * store.Page} {
				to := min(from+size, len(s.text))
				hit := func(a, b int) bool { return b > from && a <= to }
				zeroed, garbage, copied := bytes.Clone(s.text), bytes.Clone(s.text), bytes.Clone(s.text)
				clear(zeroed[from:to])
				for i := from; i < to; i++ {
					garbage[i] = byte(r.IntN(256))
				}
				copy(copied[from:to], s.text[r.IntN(len(s.text)):])
				for i, text := range [][]byte{zeroed, garbage, copied} {
					if _, err := s.check(text, hit); err != nil {
						t.Fatalf("case %d, bytes %d to %d: %v", i, from, to, err)
					}
				}
			}
		}
	})
}

// A journal that was cut at any byte says so, and keeps what is before.
func TestTruncated(t *testing.T) {
	both(t, 9, func(t *testing.T, s *specimen) {
		zeros := len(s.text) - len(bytes.TrimRight(s.text, "\x00"))
		for n := 1; n < len(s.text); n++ {
			if zeros > 0 && n > len(s.text)-zeros+20 && n%97 != 0 && n%store.Page != 0 { // more of the same zeros
				continue
			}
			if !box.Soak && n%13 != 0 {
				continue
			}
			r, err := s.check(s.text[:n], func(_, to int) bool { return to > n })
			if inPadding := n > len(s.text)-zeros && n%store.Page == 0; !r.Damaged && !inPadding {
				t.Fatalf("cut at %d of %d: no word", n, len(s.text))
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", n, err)
			}
		}
	})
}

// Lines that were taken out, doubled, or put elsewhere, each of them whole.
func TestMovedLines(t *testing.T) {
	both(t, 12, func(t *testing.T, s *specimen) {
		end := len(bytes.TrimRight(s.text, "\x00"))
		lines := bytes.SplitAfter(s.text[:end], []byte("\n"))
		lines = lines[:len(lines)-1]
		for i, l := range lines {
			from := bytes.Index(s.text, l)
			hit := func(a, _ int) bool { return a == from }
			without := slices.Delete(slices.Clone(lines), i, i+1)
			r, err := s.check(s.join(without), hit)
			if last := i == len(lines)-1; err != nil && !last {
				t.Fatalf("without line %d: %v", i, err)
			} else if !r.Damaged && r.Torn == 0 && !(last && !s.closed) {
				t.Fatalf("without line %d: no word", i)
			}
			for k := i; k <= len(lines); k += 3 {
				twice := slices.Insert(slices.Clone(lines), k, l)
				if r, err := s.check(s.join(twice), nowhere); err != nil || !r.Damaged {
					t.Fatalf("line %d again at %d: %v, %+v", i, k, err, r)
				}
			}
		}
	})
}

// join puts lines together again, with what was behind them.
func (s *specimen) join(lines [][]byte) []byte {
	text := bytes.Join(lines, nil)
	if s.closed {
		return text
	}
	return append(text, make([]byte, (len(text)/store.Page+2)*store.Page-len(text))...)
}

// A bad line in the last batch with good ones of the same batch behind it is a
// torn tail: a disk writes the parts of an unsynced write in any order.
func TestTornInsideBatch(t *testing.T) {
	s := makeSpecimen(t, 1, 6, false) // the last batch has three lines
	for at := s.last; at < s.last+20; at++ {
		text := bytes.Clone(s.text)
		text[at] ^= 1
		b := jobs.New(store.Retention{})
		if r := replayed(text, b); r.Damaged || r.Torn == 0 {
			t.Fatalf("byte %d of the last batch: %+v", at-s.last, r)
		}
		if len(b.Paused()) != 1 { // by an earlier batch
			t.Fatal(b.Paused())
		}
	}
}

// What a newer version wrote is not dropped in silence.
func TestNewerVersion(t *testing.T) {
	s := makeSpecimen(t, 1, 3, true)
	var lines [][]byte
	for _, l := range bytes.SplitAfter(s.text, []byte("\n")) {
		if len(l) == 0 {
			continue
		}
		rec, err := store.DecodeLine(l[:len(l)-1])
		if err != nil {
			t.Fatal(err)
		}
		if rec.Op == store.OpJoin {
			rec.Op = "adopt"
		}
		again, err := store.AppendLine(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, again)
	}
	b := jobs.New(store.Retention{})
	r := replayed(bytes.Join(lines, nil), b)
	if !r.Damaged || !strings.Contains(strings.Join(r.Lost, "\n"), `"adopt"`) || b.OpenCount()+b.History() != 3 {
		t.Errorf("report %+v, open %d, ended %d", r, b.OpenCount(), b.History())
	}
}

// badPages is a source that cannot read some of its pages.
type badPages struct {
	*bytes.Reader
	bad func(page int64) bool
}

func (b badPages) ReadAt(p []byte, at int64) (int, error) {
	for n := 0; n < len(p); {
		if b.bad((at + int64(n)) / store.Page) {
			return n, syscall.EIO
		}
		step := min(len(p)-n, int(store.Page-(at+int64(n))%store.Page))
		got, err := b.Reader.ReadAt(p[n:n+step], at+int64(n))
		n += got
		if err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// A page that the disk does not give back costs what was in it, no more.
func TestUnreadablePages(t *testing.T) {
	both(t, 200, func(t *testing.T, s *specimen) {
		for bad := range (int64(len(s.text)) + store.Page - 1) / store.Page {
			b := jobs.New(store.Retention{})
			from := badPages{bytes.NewReader(s.text), func(p int64) bool { return p == bad }}
			report := store.ReplayFrom(from, int64(len(s.text)), b.Replay())
			if !report.Damaged && report.Torn == 0 {
				t.Fatalf("page %d: no word", bad)
			}
			if lost := len(s.want) - b.OpenCount() - b.History(); lost > 30 {
				t.Fatalf("page %d: %d jobs lost", bad, lost)
			}
		}
	})
}

// lines writes records as a journal in use, each a batch of its own.
func lines(t *testing.T, recs ...store.Record) []byte {
	t.Helper()
	var text []byte
	for i, r := range append([]store.Record{{Op: "head"}, {Op: "base"}}, recs...) {
		r.Batch = uint64(i) + 1
		var err error
		if text, err = store.AppendLine(text, r); err != nil {
			t.Fatal(err)
		}
	}
	return append(text, make([]byte, 2*store.Page-len(text)%store.Page)...)
}

// What a job's arguments say is not taken for what its unreadable line is.
func TestArgumentsAreNoOperation(t *testing.T) {
	lost, other := ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV"), ulid.MustParse("01BRZ3NDEKTSV4RRFFQ69G5FAV")
	first := accept(lost)
	first.Job.Arguments = []byte(`{"op":"join"}`)
	text := lines(t, first, accept(other))
	text[bytes.Index(text, []byte("accept"))-20] ^= 1 // of the checksum
	s := jobs.New(store.Retention{})
	r := replayed(text, s)
	if _, known := find(s, other); !known || !r.Damaged || !strings.Contains(strings.Join(r.Lost, "\n"), lost.String()) || len(r.Suspects) > 0 {
		t.Errorf("%+v", r)
	}
}
