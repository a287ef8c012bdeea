package durable

import (
	"errors"
	"slices"
	"testing"
)

var errDisk = errors.New("disk")

// heard notes what a gate calls, by name.
type heard []string

func (h *heard) settled(name string) func(error) {
	return func(err error) {
		if err != nil {
			name += " failed"
		}
		*h = append(*h, name)
	}
}

func (h *heard) durable(name string) func() { return func() { *h = append(*h, name) } }

func (h *heard) want(t *testing.T, names ...string) {
	t.Helper()
	if !slices.Equal(*h, names) {
		t.Errorf("called %v, want %v", *h, names)
	}
	*h = nil
}

// A gate that no record passed keeps nothing back.
func TestZeroGateIsDurable(t *testing.T) {
	var g Gate
	var h heard
	g.Settled(h.settled("at once"))
	h.want(t, "at once")
	if g.Phase() != Durable {
		t.Error(g.Phase())
	}
}

// Acceptance and start of one job may be under way together: the gate opens
// with the answer to the last of them.
func TestGateCounts(t *testing.T) {
	var g Gate
	var h heard
	g.OnDurable(h.durable("certain"))
	g.Begin()
	g.Begin()
	g.Settled(h.settled("settled"))
	g.End(nil)
	h.want(t)
	if g.Phase() != Writing {
		t.Error(g.Phase())
	}
	g.End(nil)
	h.want(t, "certain", "settled")
	g.Settled(h.settled("later"))
	h.want(t, "later")
}

// What wants certainty waits for the whole journal; the others hear of the
// failure, at once when they come later.
func TestGateFails(t *testing.T) {
	var g Gate
	var h heard
	g.OnDurable(h.durable("certain"))
	g.Begin()
	g.Settled(h.settled("one"))
	g.End(errDisk)
	h.want(t, "one failed")
	g.Settled(h.settled("two"))
	h.want(t, "two failed")
	if g.Phase() != Failed {
		t.Error(g.Phase())
	}
	g.Saved()
	h.want(t, "certain")
	g.Saved()
	h.want(t)
	if g.Phase() != Durable {
		t.Error(g.Phase())
	}
}

// A whole journal does not open a gate that a further record has passed since.
func TestGateSavedWhileWriting(t *testing.T) {
	var g Gate
	var h heard
	g.OnDurable(h.durable("certain"))
	g.Begin()
	g.End(errDisk)
	g.Begin()
	g.Saved()
	h.want(t)
	if g.Phase() != Writing {
		t.Error(g.Phase())
	}
	g.End(nil)
	h.want(t, "certain")
}

// A record that was refused for want of space does not keep back what a later
// one of the same job says.
func TestGateLastAnswerCounts(t *testing.T) {
	var g Gate
	var h heard
	g.Begin()
	g.End(errDisk)
	g.OnDurable(h.durable("end"))
	g.Begin()
	g.End(nil)
	h.want(t, "end")
	if g.Phase() != Durable {
		t.Error(g.Phase())
	}
}

// A job that was withdrawn has no certain end; who waits is told all the same.
func TestGateDrop(t *testing.T) {
	var g Gate
	var h heard
	g.OnDurable(h.durable("certain"))
	g.Begin()
	g.Begin()
	g.Settled(h.settled("settled"))
	g.End(errDisk)
	g.Drop()
	g.End(errDisk)
	g.Saved()
	h.want(t, "settled failed")
}

// A callback may let the next record pass, and wait for that.
func TestGateCallbackBegins(t *testing.T) {
	var g Gate
	var h heard
	g.Begin()
	g.Settled(func(error) {
		g.Begin()
		g.Settled(h.settled("second"))
	})
	g.Settled(h.settled("first"))
	g.End(nil)
	h.want(t, "first")
	g.End(nil)
	h.want(t, "second")
}

// An answer without a record is a fault of the owner, and does not pass.
func TestGateEndWithoutBegin(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it passed")
		}
	}()
	new(Gate).End(nil)
}
