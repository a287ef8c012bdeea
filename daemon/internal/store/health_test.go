package store

import (
	"errors"
	"testing"
	"time"
)

// A journal is compacted when it is above 4 MiB and four times its snapshot, and
// nothing is wrong with it.
func TestCompactDue(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	var h health
	want := func(due bool, when string) {
		t.Helper()
		if h.compactDue(now) != due {
			t.Errorf("%s: due %v", when, !due)
		}
	}
	h.rewritten(100)
	want(false, "small")
	h.grown(compactMin + 1)
	want(true, "grown")
	if h.size != compactMin+1 {
		t.Error(h.size)
	}
	h.rewritten(compactMin)
	h.grown(4 * compactMin)
	want(false, "four times the snapshot")
	h.grown(4*compactMin + 1)
	want(true, "more than that")

	h.putOffCompaction(now)
	want(false, "after one that failed")
	now = now.Add(compactPause + 1)
	want(true, "a while after it")

	h.setFull(errors.New("full"))
	want(false, "full")
	if tell := h.setFailed(errors.New("broken")); tell != nil || h.isFull() != nil || h.broken() == nil {
		t.Error("a broken journal is full, or not broken")
	}
	want(false, "broken")
	_ = h.setFailed(nil)
	want(true, "repaired")
}
