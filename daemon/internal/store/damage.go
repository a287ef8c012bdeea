package store

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

const (
	nameAtMost = 20    // jobs that one message names
	readAtMost = 1_000 // bad lines that are looked into
)

// gap is a place in the journal with lines that are not readable or missing.
type gap struct {
	at    int64
	end   int64 // of its last bad line
	lines int   // bad ones
	ends  int   // line ends that are bad between good lines
	zeros bool  // and nothing at all in between
	hints []hint
}

// guess is how many records were in it, where nothing says how many. Of zeros
// nobody knows: they count as one that no hint explains.
func (g *gap) guess() int {
	if g.zeros {
		return g.lines + 1
	}
	return g.lines
}

// hint is what a bad line still tells.
type hint struct {
	id       string // of the job, "" = not readable
	accept   bool   // it held a whole job
	harmless bool   // it could not have hidden that a job has run
	pause    bool   // of a dispatcher, or its end
	tail     bool   // of the line before, it seems: the record is not one more
}

// hints reads what bad lines still tell.
type hints struct{ ids *regexp.Regexp }

// hintID finds a line's job: what stands where its id does, with a bad bit in
// it or not, else the first that looks like an id. It is compiled for the first
// bad line, and not at each start of the program: 0.1 ms and 11 kB, of all that
// our own packages did before main the most.
const hintID = `.id.:.(.{26}).|([0-9A-HJKMNP-TV-Z]{26})`

// of reads a bad line, or what is left of one.
func (h *hints) of(line []byte) hint {
	if h.ids == nil {
		h.ids = regexp.MustCompile(hintID)
	}
	op := opOf(line)
	found := hint{accept: op == OpAccept || op == OpDone || op == "" && bytes.Contains(line, []byte(`"job":`))}
	if m := h.ids.FindSubmatch(line); m != nil {
		found.id = string(m[1]) + string(m[2])
	}
	switch op {
	case OpPause, OpResume:
		found.pause, found.harmless = true, true
	case OpJoin, OpCursor, OpKey, opHead, opBase, opClose:
		found.harmless = true
	}
	return found
}

// opOf is a line's operation, "" = not readable. It stands behind two numbers:
// what is further on may be of the job's arguments or its result.
func opOf(line []byte) Op {
	const numbers = 64
	_, rest, ok := bytes.Cut(line[:min(len(line), numbers)], []byte(`"op":"`))
	op, _, whole := bytes.Cut(rest, []byte(`"`))
	if !ok || !whole {
		return ""
	}
	return Op(op)
}

// losses adds up what is wrong with a journal.
type losses struct {
	first    int64 // where the first gap is
	lines    int   // bad ones
	missing  int   // records, by their numbers
	mixed    bool  // lines are there twice, or not in their order
	noHeader bool
	short    bool
	newer    bool
	unknown  []string // operations of a newer version
	gone     []string // jobs whose acceptance is lost
	hints    []hint
	gaps     int
	before   uint64 // jobs accepted until the last gap
}

// add takes a gap that is damage. Only jobs that were accepted before it can
// have started in it.
func (l *losses) add(g *gap, accepted uint64) {
	if l.gaps == 0 {
		l.first = g.at
	}
	l.gaps++
	l.lines += g.lines + g.ends
	l.hints = append(l.hints, g.hints...)
	l.before = accepted
}

// markLost notes a job that later records speak of and nobody knows.
func (l *losses) markLost(id ulid.ULID) {
	if s := id.String(); !slices.Contains(l.gone, s) && len(l.gone) < readAtMost {
		l.gone = append(l.gone, s)
	}
}

// unknownRecord notes a record that is whole and that this version does not know.
func (l *losses) unknownRecord(err error) {
	if s := err.Error(); !slices.Contains(l.unknown, s) && len(l.unknown) < nameAtMost {
		l.unknown = append(l.unknown, s)
	}
}

// judge writes the report.
func (l *losses) judge(s State, r *Report, good int64) {
	say := func(format string, args ...any) { r.Lost = append(r.Lost, fmt.Sprintf(format, args...)) }
	if l.lines > 0 || l.missing > 0 {
		say("from byte %d on, %d lines are not readable and %d records are missing", l.first, l.lines, l.missing)
	}
	if l.short {
		say("its end is missing, from byte %d on", good)
	}
	if l.noHeader {
		say("its first line is not readable")
	}
	if l.mixed {
		say("lines are there twice or not in their order; each was taken once, in its order")
	}
	if l.newer {
		say("it was written by a newer version; what this one does not know is lost to it")
	}
	for _, op := range l.unknown {
		say("records were left out: %s", op)
	}
	if l.suspect(s, r) {
		say("the pause of a dispatcher may be among what was lost")
	}
	if len(l.gone) > 0 {
		say("jobs that were accepted and are lost: %s", names(l.gone))
	}
	if len(r.Suspects) > 0 {
		var list []string
		for _, id := range r.Suspects {
			list = append(list, id.String())
		}
		say("queued jobs that may have run: %s", names(list))
	}
	r.Damaged = len(r.Lost) > 0
}

// suspect finds the queued jobs whose start may be among what was lost. Where
// the bad lines do not say whose each lost record was, that is every one. It
// reports whether a pause may be among it, too.
func (l *losses) suspect(s State, r *Report) (pause bool) {
	some := map[ulid.ULID]bool{}
	explained := 0
	for _, h := range l.hints {
		pause = pause || h.pause
		known := h.harmless || h.accept && l.acceptLost(s, h)
		if !known {
			found := similarIDs(s, h.id)
			for _, id := range found {
				some[id] = true
			}
			known = len(found) > 0
		}
		if known && !h.tail {
			explained++
		}
	}
	all := l.short || explained < l.missing
	if !all && len(some) == 0 {
		return pause
	}
	for j := range s.Open() {
		if j.State == ipc.Queued && (some[j.ID] || (all && j.Seq <= l.before)) {
			r.Suspects = append(r.Suspects, j.ID)
		}
	}
	return pause || all
}

// acceptLost notes the job of an unreadable acceptance.
func (l *losses) acceptLost(s State, h hint) bool {
	id, err := ulid.ParseStrict(h.id)
	if err != nil {
		return false
	}
	if !s.Known(id) {
		l.markLost(id)
	}
	return true
}

// similarIDs finds the known job whose id is text, or the open ones whose id
// it may have been before a bit was flipped in it.
func similarIDs(s State, text string) []ulid.ULID {
	if len(text) != ulid.EncodedSize {
		return nil
	}
	if id, err := ulid.ParseStrict(text); err == nil {
		if s.Known(id) {
			return []ulid.ULID{id}
		}
	}
	var near []ulid.ULID
	for j := range s.Open() {
		if differ(j.ID.String(), text) <= 1 {
			near = append(near, j.ID)
		}
	}
	return near
}

// differ counts the places at which two strings of one length differ.
func differ(a, b string) int {
	n := 0
	for i := range len(a) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// names lists some of many.
func names(list []string) string {
	if more := len(list) - nameAtMost; more > 0 {
		return strings.Join(list[:nameAtMost], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(list, ", ")
}
