package queue

import (
	"testing"
	"time"
)

// A job that expires says what it waited for: the holder of its lock, or who had its
// turn.
func TestExpireSaysWhy(t *testing.T) {
	c := New(Limits{})
	for _, r := range []Rules{{Name: "holds"}, {Name: "wants", QueueTimeout: time.Minute}, {Name: "waits", QueueTimeout: time.Minute}} {
		c.Define(0, r)
	}
	c.Tick(0)
	submit := func(n byte, name string, locks ...Lock) {
		t.Helper()
		if v, _, err := c.Submit(0, Submission{ID: ID{n}, Dispatcher: name, Locks: locks}); err != nil || v.Refused != "" {
			t.Fatal(v, err)
		}
	}
	submit(1, "holds", Lock{Name: "system"})
	if _, err := c.Started(0, ID{1}); err != nil {
		t.Fatal(err)
	}
	submit(2, "waits")
	if _, err := c.Started(0, ID{2}); err != nil {
		t.Fatal(err)
	}
	submit(3, "wants", Lock{Name: "system", Shared: true})
	submit(4, "waits")
	got := map[ID]Wait{}
	for _, e := range c.Tick(2 * time.Minute) {
		if e, ok := e.(Expire); ok {
			got[e.ID] = e.For
		}
	}
	if lock, turn := got[ID{3}], got[ID{4}]; lock.Lock != "system" || lock.Job != (ID{1}) || turn.Reason != waitTurn || turn.Job != (ID{2}) {
		t.Errorf("%+v", got)
	}
}
