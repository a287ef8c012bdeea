package scheduler

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"dispatchd/test/box"
)

// TestTranscripts plays the stories in testdata. Their commands:
//
//	clock TIME       the wall clock shows this
//	set NAME SPEC [; SPEC] [key=value…]   adds or changes an entry, and sets all
//	drop NAME        takes one out, and sets all
//	lay NAME SPEC    as set, and lose NAME as drop, while the daemon is down: the
//	                 next restart finds it so
//	run SPAN         time passes, the daemon naps and asks
//	step SPAN        somebody sets the clock by this much
//	suspend SPAN     the machine sleeps
//	stop SPAN        time passes, and nobody asks
//	restart SPAN     the daemon is down for so long; the Last times were kept
//	show NAME        how it stands
func TestTranscripts(t *testing.T) {
	box.Play(t, func(t *testing.T) func(string) string {
		p := &player{t: t, d: &daemon{now: Now{Mono: time.Hour}}, last: map[string]time.Time{}, out: map[string]time.Time{}}
		return func(line string) string {
			p.said.Reset()
			p.play(line)
			return p.said.String()
		}
	})
}

// player turns command lines into calls.
type player struct {
	t       *testing.T
	d       *daemon
	entries []Entry
	last    map[string]time.Time // what the daemon kept
	out     map[string]time.Time // since when what was dropped is not in force
	said    strings.Builder
}

// play runs one line.
func (p *player) play(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "clock":
		at, err := time.Parse("2006-01-02 15:04:05", rest)
		p.must(err)
		p.d.now.Wall = at
	case "set", "drop":
		p.set(verb, rest)
		p.d.agenda.Set(p.d.now, p.entries)
		p.d.pass(0, p.note)
	case "lay":
		p.set("set", rest)
	case "lose":
		p.set("drop", rest)
		p.out[rest] = time.Time{}
	case "run":
		p.d.pass(p.span(rest), p.note)
	case "step", "suspend":
		p.d.now.Wall = p.d.now.Wall.Add(p.span(rest))
	case "stop":
		p.d.sleep(p.span(rest))
	case "restart":
		p.d.sleep(p.span(rest))
		p.d.agenda = Agenda{}
		for i := range p.entries {
			p.entries[i].Last = p.last[p.entries[i].Name]
		}
		for name, since := range p.out {
			if since.IsZero() { // it was lost, which the daemon sees now
				p.out[name] = p.d.now.Wall
			}
		}
		p.d.agenda.Set(p.d.now, p.entries)
		p.d.pass(0, p.note)
	case "show":
		p.show(rest)
	default:
		p.t.Fatalf("what is %q", line)
	}
}

// must stops at a transcript that cannot be read.
func (p *player) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// span reads a duration, which may have days before it.
func (p *player) span(s string) time.Duration {
	days := 0
	if before, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(before)
		p.must(err)
		days, s = n, rest+"0s"
	}
	d, err := time.ParseDuration(s)
	p.must(err)
	return d + time.Duration(days)*24*time.Hour
}

// set changes the entries.
func (p *player) set(verb, rest string) {
	name, rest, _ := strings.Cut(rest, " ")
	e := Entry{Name: name, Last: p.last[name], Out: p.out[name]}
	var spec []string
	loc := time.UTC
	for word := range strings.FieldsSeq(rest) {
		key, value, isOption := strings.Cut(word, "=")
		switch {
		case !isOption:
			spec = append(spec, word)
		case key == "zone":
			loc = zone(p.t, value)
		case key == "jitter":
			e.Offset = p.span(value)
		case key == "catch_up":
			e.CatchUp = CatchUp(value)
		case key == "max":
			n, err := strconv.Atoi(value)
			p.must(err)
			e.Max = n
		default:
			p.t.Fatalf("what is %q", word)
		}
	}
	var kept []Entry
	for _, other := range p.entries {
		if other.Name != name {
			kept = append(kept, other)
		}
	}
	if verb == "set" {
		for one := range strings.SplitSeq(strings.Join(spec, " "), ";") {
			e.Times = append(e.Times, parsed(p.t, one, loc))
		}
		kept = append(kept, e)
		delete(p.out, name)
	} else {
		p.out[name] = p.d.now.Wall
	}
	p.entries = kept
}

// note writes down an occurrence.
func (p *player) note(now Now, occurrence Occurrence) {
	p.last[occurrence.Name] = occurrence.Last
	for i := range p.entries {
		if p.entries[i].Name == occurrence.Name {
			p.entries[i].Out = time.Time{} // it is in force, and so it is kept
		}
	}
	const layout = "2006-01-02 15:04:05"
	fmt.Fprintf(&p.said, "%s  %s %s", now.Wall.Format(layout), occurrence.Name, occurrence.Kind)
	if !occurrence.Due.Equal(now.Wall) {
		fmt.Fprintf(&p.said, ", due %s", occurrence.Due.UTC().Format(layout))
	}
	if !occurrence.Last.Equal(occurrence.Due) {
		fmt.Fprintf(&p.said, ", last stays %s", occurrence.Last.UTC().Format(layout))
	}
	if occurrence.Missed > 0 {
		fmt.Fprintf(&p.said, ", missed %d", occurrence.Missed)
	}
	if occurrence.More {
		p.said.WriteString(" and more")
	}
	p.said.WriteString("\n")
}

// show prints a status.
func (p *player) show(name string) {
	s, ok := p.d.agenda.Of(name, 3)
	if !ok {
		fmt.Fprintf(&p.said, "no %s\n", name)
		return
	}
	const layout = "2006-01-02 15:04:05"
	fmt.Fprintf(&p.said, "last %s, missed %d, next", s.Last.UTC().Format(layout), s.Missed)
	for _, at := range s.Next {
		fmt.Fprintf(&p.said, " %s;", at.UTC().Format(layout))
	}
	p.said.WriteString("\n")
}
