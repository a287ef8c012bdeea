package durable

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/test/box"
)

// fakeJournal notes what it is asked for, and answers when the test says so.
type fakeJournal struct {
	say      func(format string, args ...any)
	appends  []func(error)
	rewrites []func(error)
	fail     func(error)
	full     func(error)
	due      bool
	closing  bool
	verdict  error // on all that comes once it is closing
}

func (j *fakeJournal) Append(rec store.Record, d mode.Durability, urgent bool, done func(error)) {
	j.say("journal: %s of %s, %s, urgent %v", rec.Op, rec.Dispatcher, d, urgent)
	j.appends = append(j.appends, done)
}

func (j *fakeJournal) Rewrite(_ store.Snapshot, done func(error)) {
	j.say("journal: rewrite")
	if j.closing {
		done(j.verdict)
		return
	}
	j.rewrites = append(j.rewrites, done)
}

func (j *fakeJournal) Hurry()                   { j.say("journal: hurry") }
func (j *fakeJournal) CompactDue() bool         { return j.due }
func (j *fakeJournal) SetOnFail(fn func(error)) { j.fail = fn }
func (j *fakeJournal) SetOnFull(fn func(error)) { j.full = fn }

// Close answers for what is left, as the real one does.
func (j *fakeJournal) Close() error {
	j.say("journal: close")
	for _, done := range slices.Concat(j.appends, j.rewrites) {
		done(j.verdict)
	}
	j.appends, j.rewrites = nil, nil
	return j.verdict
}

// player plays one transcript: owner, journal and clients of a log.
type player struct {
	out     bytes.Buffer
	journal *fakeJournal
	log     *Log
	gates   map[string]*Gate

	mu     sync.Mutex
	posted []func()
}

func newPlayer() *player {
	p := &player{gates: map[string]*Gate{}}
	p.journal = &fakeJournal{say: p.say}
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	p.log = New(p.journal, Owner{
		Log:      slog.New(slog.NewTextHandler(&p.out, &slog.HandlerOptions{ReplaceAttr: noTime})),
		Post:     p.post,
		Snapshot: func() store.Snapshot { p.say("owner: snapshot"); return store.Snapshot{} },
		Broken:   func(err error) { p.say("owner: broken: %v", err) },
		Works:    func() { p.say("owner: works") },
	})
	return p
}

func (p *player) say(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// gate gives the gate of a name.
func (p *player) gate(name string) *Gate {
	if p.gates[name] == nil {
		p.gates[name] = &Gate{}
	}
	return p.gates[name]
}

// play runs one line, and all that was posted because of it.
func (p *player) play(line string) string {
	p.out.Reset()
	words := strings.Fields(line)
	p.do(words[0], words[1:])
	synctest.Wait()
	for list := p.posts(); len(list) > 0; list = p.posts() {
		for _, fn := range list {
			fn()
		}
	}
	return p.out.String()
}

// post may be called by a timer.
func (p *player) post(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posted = append(p.posted, fn)
}

// posts takes what was posted.
func (p *player) posts() []func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.posted
	p.posted = nil
	return list
}

// text is a word as an error, nil for ok.
func text(word string) error {
	if word == "ok" {
		return nil
	}
	return errors.New(word)
}

func (p *player) do(verb string, args []string) {
	switch verb {
	case "write":
		p.write(args[0], args[1:])
	case "wait":
		p.log.Settled(p.gate(args[0]), func(err error) { p.say("client of %s: %v", args[0], cmp.Or(err, errors.New("told"))) })
	case "certain":
		p.gate(args[0]).OnDurable(func() { p.say("certain: %s", args[0]) })
	case "drop":
		p.gate(args[0]).Drop()
	case "answer":
		done := p.journal.appends[0]
		p.journal.appends = p.journal.appends[1:]
		done(text(args[0]))
	case "rewritten":
		done := p.journal.rewrites[0]
		p.journal.rewrites = p.journal.rewrites[1:]
		done(text(args[0]))
	case "break":
		p.journal.fail(text(args[0]))
	case "full":
		p.journal.full(text(args[0]))
	case "compact":
		p.journal.due = true
		p.log.Compact()
	case "save":
		p.log.SaveAll(func(err error) { p.say("saved: %v", err) })
	case "pass":
		d, _ := time.ParseDuration(args[0])
		<-time.After(d)
	case "close":
		p.journal.closing, p.journal.verdict = true, text(args[0])
		p.say("closed: %v", p.log.Close())
	case "show":
		p.say("accepts: %v", p.log.Err() == nil)
		for _, name := range slices.Sorted(maps.Keys(p.gates)) {
			p.say("%s: %s", name, p.gate(name).Phase())
		}
	default:
		p.say("what is %s?", verb)
	}
}

// write writes a record through the gates that are named.
func (p *player) write(name string, through []string) {
	var gates []*Gate
	for _, g := range through {
		gates = append(gates, p.gate(g))
	}
	rec := store.Record{Op: store.OpAccept, Dispatcher: name}
	p.log.Write(rec, mode.Disk, true, func(err error) { p.say("%s: %v", name, cmp.Or(err, errors.New("written"))) }, gates...)
}

// TestTranscripts plays the stories in testdata. Each has a bubble of its own,
// on a goroutine that takes one line at a time.
func TestTranscripts(t *testing.T) {
	box.Play(t, func(t *testing.T) func(string) string {
		lines, answers, ended := make(chan string), make(chan string), make(chan struct{})
		go func() {
			defer close(ended)
			synctest.Test(t, func(*testing.T) {
				p := newPlayer()
				for line := range lines {
					answers <- p.play(line)
				}
			})
		}()
		t.Cleanup(func() { close(lines); <-ended })
		return func(line string) string { lines <- line; return <-answers }
	})
}

// empty is a state that never holds anything.
type empty struct{}

func (empty) Apply(store.Record) error   { return nil }
func (empty) Reset()                     {}
func (empty) Known(ulid.ULID) bool       { return false }
func (empty) Open() iter.Seq[*store.Job] { return slices.Values([]*store.Job(nil)) }
func (empty) Snapshot() store.Snapshot   { return store.Snapshot{} }

// The real journal answers as Log expects: in a bubble, on a real directory.
func TestRealJournal(t *testing.T) {
	dir, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	synctest.Test(t, func(t *testing.T) {
		journal, _, err := dir.OpenJournal(empty{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		posted := make(chan func(), 100)
		log := New(journal, Owner{
			Log: slog.New(slog.DiscardHandler), Post: func(fn func()) { posted <- fn }, Snapshot: empty{}.Snapshot,
			Broken: func(err error) { t.Error(err) }, Works: func() {},
		})
		var g Gate
		rec := store.Record{Op: store.OpPause, Dispatcher: "op"}
		log.Write(rec, mode.Disk, false, nil, &g)
		var h heard
		log.Settled(&g, h.settled("hurried"))
		start := time.Now()
		(<-posted)()
		if h.want(t, "hurried"); time.Since(start) > 0 {
			t.Errorf("a client waited for %s", time.Since(start))
		}
		log.SaveAll(func(err error) { h.settled("saved")(err) })
		(<-posted)()
		h.want(t, "saved")
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A journal that is full takes nothing new, and is not broken: starts and ends go
// on.
func TestFullIsNotBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer()
		for _, step := range []struct {
			line            string
			accepts, broken bool
		}{{"full ENOSPC", false, false}, {"full ok", true, false}, {"break EIO", false, true}} {
			p.play(step.line)
			if p.log.Err() == nil != step.accepts || p.log.Broken() != step.broken {
				t.Errorf("%s: accepts %t, broken %t", step.line, p.log.Err() == nil, p.log.Broken())
			}
		}
		p.log.repair.Stop()
	})
}
