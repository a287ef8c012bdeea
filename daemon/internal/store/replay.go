package store

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/oklog/ulid/v2"
)

// Report says what a replay found.
type Report struct {
	Records  int
	Fresh    bool        // there was no journal, and none was expected
	Torn     int64       // bytes of an unfinished last write, which were cut
	Damaged  bool        // something that had been written is not readable
	KeptAs   string      // where the damaged file is kept
	Lost     []string    // what to tell people
	Suspects []ulid.ULID // queued jobs whose start may be what was lost
	number   uint64      // of the last line
	store    string      // the store's id in the head
	moment   moment      // where its timeline stood at the head
	lived    int64       // and at the last record
}

// replay folds a journal into a state.
//
// Lines that are not readable or not there are a gap. What they were is known
// only by what follows: a good line of a later batch was written after the
// gap had been synced, so the gap is damage. If none follows, the gap is in
// the last batch, which a crash may leave in any state: a torn tail, which is
// cut with everything behind it. Until then good lines are parked.
type replay struct {
	state  State
	report *Report
	jobs   uint64   // accepted so far
	next   uint64   // number of the next line, 0 = none was read
	base   uint64   // number of the snapshot's last line, 0 = not known
	gap    *gap     // not judged yet
	parked []Record // good lines behind it
	good   int64    // where the good part ends
	last   Op       // of the last good line
	padded int64    // zeros at the end
	mixed  bool     // lines are there twice, or not in their order
	hints  hints
	losses losses
}

// readAll reads all segments and judges what was found.
func (r *replay) readAll(from io.ReaderAt, size int64) {
	r.read(from, size, r.line)
	r.finish(size)
	if r.mixed {
		r.sort(from, size)
		r.finish(size)
	}
	r.losses.judge(r.state, r.report, r.good)
}

// read cuts the file into segments, and gives the good lines to take.
func (r *replay) read(from io.ReaderAt, size int64, take func(Record, segment)) {
	r.padded = 0
	s := &scanner{r: &pagedReader{r: from, size: size}}
	for list := s.batch(); len(list) > 0; list = s.batch() {
		for _, d := range decodeAll(list) {
			if d.text == nil {
				r.padded = d.end - d.at
				continue
			}
			if r.padded > 0 { // zeros, but not at the end
				r.open(d.at - r.padded).zeros = true
				r.padded = 0
			}
			if d.err != nil || !d.whole {
				r.salvage(d.segment, take)
				continue
			}
			r.report.number = max(r.report.number, d.rec.number())
			take(d.rec, d.segment)
		}
	}
}

// salvage finds good lines in a bad segment. Where the newline between two lines
// is damaged, both are in one segment, and each is whole by its checksum.
func (r *replay) salvage(s segment, take func(Record, segment)) {
	for len(s.text) > 0 {
		line, rest := s.split()
		rec, err := decodeLine(line.text)
		if err != nil && !line.whole { // the damaged newline is its last byte
			rec, err = decodeLine(line.text[:len(line.text)-1])
		}
		switch last := len(rest.text) == 0; {
		case err != nil, last && !line.whole: // without a newline, the last one was not written to its end
			r.bad(line)
		default:
			r.report.number = max(r.report.number, rec.number())
			take(rec, line)
			if !last {
				r.open(line.end-1).ends++
			}
		}
		s = rest
	}
}

// bad notes a bad line. One that does not begin like a line and follows on a bad
// one may be the rest of that: it tells of no further record.
func (r *replay) bad(line segment) {
	g := r.open(line.at)
	if len(g.hints) < readAtMost {
		h := r.hints.of(line.text)
		h.tail = g.lines > 0 && g.end == line.at && !line.begins()
		g.hints = append(g.hints, h)
	}
	g.lines++
	g.end = line.end
}

// open begins a gap, or goes on with the one that is open.
func (r *replay) open(at int64) *gap {
	if r.gap == nil {
		r.gap = &gap{at: at}
	}
	return r.gap
}

// line takes a good line.
func (r *replay) line(rec Record, p segment) {
	r.report.Records++
	if rec.number() < r.next {
		r.mixed = true
		return
	}
	if r.gap == nil && r.next > 0 && rec.number() > r.next {
		r.open(p.at)
	}
	if r.gap != nil {
		later := rec.Batch > r.next || (rec.Batch == r.next && rec.Index == 0)
		if !later {
			r.parked = append(r.parked, rec)
			return
		}
		r.damage()
	}
	r.apply(rec)
	r.good = p.end
}

// damage judges the gap: what was in it had been synced. The number of the
// line behind it says how many records that were, unless it is the first.
func (r *replay) damage() {
	if r.next == 0 {
		r.losses.missing += r.gap.guess()
	}
	r.losses.add(r.gap, r.jobs)
	parked := r.parked
	r.gap, r.parked = nil, nil
	for _, rec := range parked {
		r.apply(rec)
	}
}

// apply folds one line into the state, and notes what does not fit.
func (r *replay) apply(rec Record) {
	switch {
	case r.next == 0 && rec.Op != opHead:
		r.losses.noHeader = true
	case r.next > 0 && rec.number() < r.next:
		r.mixed = true
		return
	case r.next > 0:
		r.losses.missing += int(rec.number() - r.next)
	}
	r.next, r.last = rec.number()+1, rec.Op
	r.report.lived = max(r.report.lived, rec.Lived)
	switch rec.Op {
	case opHead:
		r.report.store, r.base, r.report.moment = rec.Store, rec.Base, rec.Moment
		r.losses.newer = rec.Format > format
		return
	case opBase, opClose:
		return
	}
	err := r.state.Apply(rec)
	switch {
	case err == nil && rec.Op == OpAccept:
		r.jobs++
	case err == nil:
	case errors.Is(err, ErrOrphan):
		r.losses.markLost(rec.ID)
	default:
		r.losses.unknownRecord(err)
	}
}

// sort reads a journal whose lines are not in their order once more: all good
// lines, in the order of their numbers, each once. Nothing of it counts as torn.
func (r *replay) sort(from io.ReaderAt, size int64) {
	r.state.Reset()
	r.report.Torn = 0
	*r = replay{state: r.state, report: r.report, good: r.good}
	var all []Record
	r.read(from, size, func(rec Record, _ segment) { all = append(all, rec) })
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Compare(a.number(), b.number()) })
	if head := slices.IndexFunc(all, func(rec Record) bool { return rec.Op == opHead }); head > 0 {
		all = all[head:] // what is older is not of this journal
	}
	for i, rec := range all {
		if i == 0 || rec.number() != all[i-1].number() {
			r.apply(rec)
		}
	}
	r.losses.mixed = true
	r.losses.add(r.open(0), r.jobs)
	r.gap = nil
}

// finish judges the end of the file. A journal that is in use ends in zeros
// that were allocated ahead, and its length is a multiple of a page; one that
// was closed in order ends with that line. Any other end was cut off. Once
// there is damage, a torn tail is no more believed in.
func (r *replay) finish(size int64) {
	closed := r.last == opClose && r.gap == nil
	padded := r.padded > 0 && size%page == 0
	switch {
	case size == 0:
	case !closed && !padded, r.next == 0, r.next < r.base: // the snapshot was whole when the file got its name
		r.losses.short = true
		r.open(size)
		r.damage()
	case r.gap != nil && r.losses.gaps > 0:
		r.losses.missing += r.gap.guess()
		r.damage()
	case r.gap != nil:
		r.report.Torn = size - r.padded - r.gap.at
	}
}
