package queue

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"dispatchd/test/transcript"
)

// TestTranscripts plays the stories in testdata, each on one core.
func TestTranscripts(t *testing.T) {
	transcript.Play(t, func(t *testing.T) func(string) string {
		return (&player{t: t, core: New(Limits{})}).play
	})
}

// player turns command lines into calls.
type player struct {
	t    *testing.T
	core *Core
	now  time.Duration
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
		return effects(p.core.Tick(p.now))
	case "define", "remove", "hold", "resume", "drain", "undrain", "freeze", "thaw":
		return p.rule(verb, args[0], o)
	case "submit", "restore":
		return p.enter(verb, args, o)
	case "ended", "busy", "cancel", "withdraw", "relock", "again":
		return p.event(verb, named(args[0]), args[1], o)
	}
	return p.ask(verb, args[0])
}

// rule plays what concerns dispatchers.
func (p *player) rule(verb, name string, o opts) string {
	switch verb {
	case "define":
		return effects(p.core.Define(p.now, Rules{
			Name: name, MaxQueue: o.num("max_queue"), Concurrency: o.num("concurrency"),
			QueueTimeout: o.dur("queue_timeout"), Timeout: o.dur("timeout"), Coalesce: o.has("coalesce"),
			Debounce: o.dur("debounce"), DebounceMax: o.dur("debounce_max"),
			Retries: o.num("retries"), Backoff: o.dur("backoff"), MaxBackoff: o.dur("max_backoff"),
		}))
	case "remove":
		p.core.Remove(p.now, name)
	case "hold", "resume":
		return effects(p.core.Pause(p.now, name, verb == "hold"))
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
		return effects(p.core.Restore(p.now, Restored{
			Submission: s, Waited: o.dur("waited"), Attempt: o.num("attempt"), BackoffLeft: o.dur("backoff"), Started: o.has("started"),
			Running: o.has("running"), Ran: o.dur("ran"),
		}))
	}
	v, list := p.core.Submit(p.now, s)
	switch {
	case v.Refused != "":
		if v.RetryAfter > 0 {
			return fmt.Sprintf("refused %s: %s, retry after %s\n", s.ID, v.Refused, v.RetryAfter) + effects(list)
		}
		return fmt.Sprintf("refused %s: %s\n", s.ID, v.Refused) + effects(list)
	case v.Joined:
		return fmt.Sprintf("joined %s, position %d\n", v.ID, v.Position) + effects(list)
	}
	return fmt.Sprintf("accepted %s, position %d\n", v.ID, v.Position) + effects(list)
}

// event plays what happens to jobs.
func (p *player) event(verb string, id ID, arg string, o opts) string {
	switch verb {
	case "ended":
		return effects(p.core.Ended(p.now, id, arg == "retryable"))
	case "again":
		return effects(p.core.Rerun(p.now, id, arg == "counts"))
	case "busy":
		return effects(p.core.Busy(p.now, id, arg, o.num("pid")))
	case "withdraw":
		return effects(p.core.Withdraw(p.now, id))
	case "relock":
		p.core.Relock(p.now, id, o.locks())
		return ""
	}
	list, known := p.core.Cancel(p.now, id)
	if !known {
		return "unknown\n"
	}
	return effects(list)
}

// ask plays questions.
func (p *player) ask(verb, arg string) string {
	switch verb {
	case "next":
		if at, ok := p.core.Next(); ok {
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
