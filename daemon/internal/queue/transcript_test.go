package queue

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dispatchd/test/box"
)

// TestTranscripts plays the stories in testdata, each on one core.
func TestTranscripts(t *testing.T) {
	box.Play(t, func(t *testing.T) func(string) string {
		return (&player{t: t, core: New(Limits{}), ahead: script(t)}).play
	})
}

// script gives the command lines of a story.
func script(t *testing.T) (lines []string) {
	_, name, _ := strings.Cut(t.Name(), "/")
	raw, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(raw), "\n\n") {
		commands, _, isBlock := strings.Cut(block, "\n----")
		for line := range strings.SplitSeq(commands, "\n") {
			if isBlock && line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// player turns command lines into calls. Every Start wants an answer: Started
// where the story itself has none. The player says it before the next "at", or
// before the job's end.
type player struct {
	t          *testing.T
	core       *Core
	now        time.Duration
	wrong      bool     // the line is said to be out of turn
	ahead      []string // the story from here on
	unanswered []ID     // of Starts that the story does not answer, in their order
}

// answers says whether the story itself answers a Start.
func (p *player) answers(id ID) bool {
	for _, line := range p.ahead {
		verb, args, _ := parse(line)
		if named(args[0]) != id {
			continue
		}
		switch verb {
		case "started", "busy", "again", "rerun", "withdraw":
			return true
		case "ended":
			return false
		}
	}
	return false
}

// named makes an id of a short name, and text its opposite.
func named(s string) (id ID) { copy(id[:], s); return id }
func (id ID) String() string { return strings.TrimRight(string(id[:]), "\x00") }

// opts are the key=value words of a command.
type opts map[string]string

func (o opts) num(key string) int { n, _ := strconv.Atoi(o[key]); return n }

func (o opts) dur(key string) time.Duration { d, _ := time.ParseDuration(o[key]); return d }

func (o opts) has(key string) bool { _, ok := o[key]; return ok }

// locks reads "a,b:shared".
func (o opts) locks() []Lock {
	var list []Lock
	for word := range strings.SplitSeq(o["locks"], ",") {
		if name, shared := strings.CutSuffix(word, ":shared"); name != "" {
			list = append(list, Lock{Name: name, Shared: shared})
		}
	}
	return list
}

// parse splits a command line into its verb, its plain words and its options.
func parse(line string) (verb string, args []string, o opts) {
	o = opts{}
	for i, word := range strings.Fields(line) {
		key, value, isOpt := strings.Cut(word, "=")
		switch {
		case i == 0:
			verb = word
		case isOpt:
			o[key] = value
		default:
			args = append(args, word)
			o[word] = "" // a flag, such as coalesce
		}
	}
	return verb, append(args, "", ""), o
}

// play runs one line and gives its answer.
func (p *player) play(line string) string {
	p.ahead = p.ahead[1:]
	if rest, wrong := strings.CutPrefix(line, "wrong "); wrong {
		p.wrong = true
		line = rest
	}
	verb, args, o := parse(line)
	switch verb {
	case "limits":
		p.core = New(Limits{MaxRunning: o.num("running"), MaxOutstanding: o.num("outstanding")})
		return ""
	case "at", "late": // late: time passes, the Tick is not there yet
		d, err := time.ParseDuration(args[0])
		if err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		p.now = d
		if verb == "late" {
			return ""
		}
		return p.answer(p.unanswered...) + p.show(p.core.Tick(p.now), nil)
	case "define", "remove", "hold", "pause", "resume", "drain", "undrain", "freeze", "thaw":
		return p.rule(verb, args[0], o)
	case "submit", "restore":
		return p.enter(verb, args, o)
	case "started", "ended", "busy", "cancel", "withdraw", "relock", "again", "rerun":
		return p.event(verb, named(args[0]), args[1], o)
	}
	return p.ask(verb, args[0])
}

// answer says Started for Starts that the story leaves to the player.
func (p *player) answer(ids ...ID) string {
	var b strings.Builder
	for _, id := range slices.Clone(ids) {
		if p.answered(id) {
			b.WriteString(p.show(p.core.Started(p.now, id)))
		}
	}
	return b.String()
}

// answered takes a Start from those that the player has to answer.
func (p *player) answered(id ID) bool {
	i := slices.Index(p.unanswered, id)
	if i >= 0 {
		p.unanswered = slices.Delete(p.unanswered, i, i+1)
	}
	return i >= 0
}

// show is the effects of an event. One out of turn fails the test, unless the
// line begins with "wrong": then it is what the story wants to show.
func (p *player) show(list []Effect, err error) string {
	wrong := p.wrong
	p.wrong = false
	if e, ok := errors.AsType[*StateError](err); ok && wrong {
		return fmt.Sprintf("wrong: %s for %s, which is %s\n", e.Event, e.ID, e.State)
	}
	if wrong || err != nil {
		p.t.Errorf("%v", cmp.Or(err, errors.New("nothing is wrong with it")))
	}
	for _, e := range list {
		if s, ok := e.(Start); ok && !p.answers(s.ID) {
			p.unanswered = append(p.unanswered, s.ID)
		}
	}
	return effects(list)
}

// reason reads what a "busy" is for: a lock, or the name of another kind.
func (o opts) reason(name string) Reason {
	switch name {
	case "journal":
		return Reason{Kind: NoJournal}
	case "resources":
		return Reason{Kind: NoResources}
	case "disk":
		return Reason{Kind: NoRoom}
	case "condition":
		return Reason{Kind: Condition}
	}
	return Reason{Lock: name, PID: o.num("pid")}
}

// rule plays what concerns dispatchers.
func (p *player) rule(verb, name string, o opts) string {
	switch verb {
	case "define":
		return p.show(p.core.Define(p.now, Rules{
			Name: name, MaxQueue: o.num("max_queue"), Concurrency: o.num("concurrency"),
			QueueTimeout: o.dur("queue_timeout"), Timeout: o.dur("timeout"), Coalesce: o.has("coalesce"),
			Debounce: o.dur("debounce"), DebounceMax: o.dur("debounce_max"),
			Retries: o.num("retries"), Backoff: o.dur("backoff"), MaxBackoff: o.dur("max_backoff"),
		}), nil)
	case "remove":
		p.core.Remove(p.now, name)
	case "hold", "pause", "resume":
		return p.show(p.core.Pause(p.now, name, verb != "resume"), nil)
	case "drain", "undrain":
		p.core.Drain(verb == "drain")
	case "freeze", "thaw":
		p.core.Freeze(verb == "freeze")
	}
	return ""
}

// enter plays what brings jobs.
func (p *player) enter(verb string, args []string, o opts) string {
	s := Submission{ID: named(args[0]), Dispatcher: args[1], Key: o["key"], Locks: o.locks()}
	if verb == "restore" {
		return p.show(nil, p.core.Restore(p.now, Restored{
			Submission: s, Waited: o.dur("waited"), Attempt: o.num("attempt"), BackoffLeft: o.dur("backoff"), Started: o.has("started"),
			Running: o.has("running"), Ran: o.dur("ran"),
		}))
	}
	v, list, err := p.core.Submit(p.now, s)
	switch {
	case err != nil:
		return p.show(nil, err)
	case v.Refused != "":
		if v.RetryAfter > 0 {
			return fmt.Sprintf("refused %s: %s, retry after %s\n", s.ID, v.Refused, v.RetryAfter) + p.show(list, nil)
		}
		return fmt.Sprintf("refused %s: %s\n", s.ID, v.Refused) + p.show(list, nil)
	case v.Joined:
		return fmt.Sprintf("joined %s, position %d\n", v.ID, v.Position) + p.show(list, nil)
	}
	return fmt.Sprintf("accepted %s, position %d\n", v.ID, v.Position) + p.show(list, nil)
}

// event plays what happens to jobs.
func (p *player) event(verb string, id ID, arg string, o opts) string {
	switch verb {
	case "started":
		return p.show(p.core.Started(p.now, id))
	case "ended":
		return p.answer(id) + p.show(p.core.Ended(p.now, id, arg == "retryable"))
	case "again", "rerun":
		return p.show(p.core.Rerun(p.now, id, arg == "counts"))
	case "busy":
		return p.show(p.core.Busy(p.now, id, o.reason(arg)))
	case "withdraw":
		return p.show(p.core.Withdraw(p.now, id), nil)
	case "relock":
		return p.show(nil, p.core.Relock(p.now, id, o.locks()))
	}
	list, err := p.core.Cancel(p.now, id)
	if err != nil && !p.wrong {
		return "unknown\n"
	}
	return p.show(list, err)
}

// ask plays questions.
func (p *player) ask(verb, arg string) string {
	switch verb {
	case "next":
		at, ok := p.core.Next()
		if p.core.locks.external.probing() && len(p.unanswered) > 0 { // the player's own turn is now
			at, ok = p.now, true
		}
		if ok {
			return fmt.Sprintf("next %s\n", at)
		}
		return "next: never\n"
	case "counts":
		q, r := p.core.Counts()
		if arg != "" {
			q, r = p.core.DispatcherCounts(arg)
		}
		return fmt.Sprintf("%d queued, %d running\n", q, r)
	case "waiting":
		w, ok := p.core.Waiting(p.now, named(arg))
		if !ok {
			return arg + " does not wait\n"
		}
		return arg + " waits: " + w.String() + "\n"
	case "position":
		return fmt.Sprintf("%d\n", p.core.Position(named(arg)))
	case "head":
		if id, ok := p.core.Head(arg); ok {
			return id.String() + "\n"
		}
		return "none is ready\n"
	case "retryafter":
		return p.core.RetryAfter(p.now, arg).String() + "\n"
	case "locks":
		return lockTable(p.core.Locks(p.now))
	}
	p.t.Fatalf("unknown command %q", verb)
	return ""
}

// String is a wait as the transcripts show it.
func (w Wait) String() string {
	var s strings.Builder
	s.WriteString(w.Reason)
	for _, part := range []struct {
		show bool
		text string
	}{
		{w.Lock != "", "lock " + w.Lock},
		{w.Missing == NoJournal, "lock journal"}, // as the wire names it
		{w.Missing == NoResources, "lock resources"},
		{w.Missing == Condition, "condition"},
		{w.Job != ID{}, "job " + w.Job.String()},
		{w.PID != 0, "pid " + strconv.Itoa(w.PID)},
		{w.Until != 0, "until " + w.Until.String()},
		{w.Position != 0, "position " + strconv.Itoa(w.Position)},
		{w.Estimate != 0, "about " + w.Estimate.String()},
	} {
		if part.show {
			s.WriteString(", " + part.text)
		}
	}
	return s.String()
}

// probing says whether a start is on its way that tries what was missing.
func (x *external) probing() bool {
	for _, o := range x.byCause {
		if o.prober != nil {
			return true
		}
	}
	return false
}

// lockTable is one line a lock.
func lockTable(list []LockState) string {
	var b strings.Builder
	for _, l := range list {
		fmt.Fprintf(&b, "%s:", l.Name)
		for _, h := range l.Holders {
			who := "job " + h.Job.String()
			if h.Job == (ID{}) {
				who = "pid " + strconv.Itoa(h.PID)
			}
			kind := "exclusive"
			if h.Shared {
				kind = "shared"
			}
			fmt.Fprintf(&b, " held by %s %s since %s;", who, kind, h.Since)
		}
		for _, w := range l.Waiters {
			fmt.Fprintf(&b, " %s waits;", w)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// effects is one line an effect.
func effects(list []Effect) string {
	var b strings.Builder
	for _, e := range list {
		switch e := e.(type) {
		case Start:
			fmt.Fprintf(&b, "  start %s, attempt %d\n", e.ID, e.Attempt)
		case Stop:
			fmt.Fprintf(&b, "  stop %s\n", e.ID)
		case Expire:
			fmt.Fprintf(&b, "  expire %s\n", e.ID)
		case Drop:
			fmt.Fprintf(&b, "  drop %s\n", e.ID)
		case Requeue:
			fmt.Fprintf(&b, "  requeue %s after attempt %d, in %s\n", e.ID, e.Attempt, e.After)
		case Finish:
			fmt.Fprintf(&b, "  finish %s\n", e.ID)
		}
	}
	return b.String()
}
