package daemon

import (
	"bytes"
	"log/slog"
	"testing"
	"time"
)

// Memory is given back once, calm after the last event, and then nothing wakes
// the daemon until there is another one.
func TestMemory(t *testing.T) {
	var m memory
	now := time.Duration(0)
	rest := func() (time.Duration, bool) {
		for {
			nap, ok := m.next(now)
			if !ok {
				return 0, false
			}
			now += nap
			if m.rests(now) {
				return now, true
			}
		}
	}
	now = calm / 2
	m.event(now)
	now += calm / 4
	if m.rests(now) {
		t.Error("at rest though something has just happened")
	}
	m.event(now)
	if at, ok := rest(); !ok || at != calm*3/4+calm {
		t.Errorf("memory is given back at %v (%t), want %v", at, ok, calm*3/4+calm)
	}
	if at, ok := rest(); ok {
		t.Errorf("woken at %v, though nothing happened", at)
	}
	now += time.Hour
	again := now
	m.event(again)
	if at, ok := rest(); !ok || at != again+calm {
		t.Errorf("after another event memory is given back at %v, want %v", at, again+calm)
	}
}

// The system takes the memory back: a fault would be told, at debug level.
func TestGiveBack(t *testing.T) {
	var said bytes.Buffer
	giveBack(slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if said.Len() > 0 {
		t.Error(said.String())
	}
}
