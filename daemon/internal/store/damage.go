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
	lines int  // bad ones
	zeros bool // and nothing at all in between
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
}

// hintID finds a line's job: what stands where its id does, with a bad bit in
// it or not, else the first that looks like an id. It is compiled for each gap,
// and not at each start of the program: 0.1 ms and 11 kB, of all that our own
// packages did before main the most.
const hintID = `.id.:.(.{26}).|([0-9A-HJKMNP-TV-Z]{26})`

// text looks for hints in a bad line. Where a newline is damaged, it is several.
func (g *gap) text(line []byte) {
	pattern := regexp.MustCompile(hintID)
	parts := bytes.Split(line, []byte(` {"b":`))
	if len(parts) > 1 {
		parts = parts[1:] // the first is a checksum
	}
	for _, part := range parts {
		if len(g.hints) >= readAtMost {
			return
		}
		has := func(s string) bool { return bytes.Contains(part, []byte(s)) }
		c := hint{accept: has(`"op":"accept"`) || has(`"job":`)}
		if m := pattern.FindSubmatch(part); m != nil {
			c.id = string(m[1]) + string(m[2])
		}
		c.pause = has(`"op":"`+string(OpPause)+`"`) || has(`"op":"`+string(OpResume)+`"`)
		c.harmless = c.pause
		for _, op := range []Op{OpJoin, OpCursor, OpKey, opHead, opBase, opClose} {
			c.harmless = c.harmless || has(`"op":"`+string(op)+`"`)
		}
		g.hints = append(g.hints, c)
	}
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
func (l *losses) add(h *gap, accepted uint64) {
	if l.gaps == 0 {
		l.first = h.at
	}
	l.gaps++
	l.lines += h.lines
	l.hints = append(l.hints, h.hints...)
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
	for _, c := range l.hints {
		pause = pause || c.pause
		switch {
		case c.harmless:
			explained++
		case c.accept && l.acceptLost(s, c):
			explained++
		default:
			found := similarIDs(s, c.id)
			for _, id := range found {
				some[id] = true
			}
			explained += min(1, len(found))
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
func (l *losses) acceptLost(s State, c hint) bool {
	id, err := ulid.ParseStrict(c.id)
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
