package server

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/ipc"
)

// Who comes first is served first, also where a smaller one would fit; who waits too
// long is refused, and does not hold up those behind it.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 100 << 10
		b := newBudget(all)
		take := func(n int64) <-chan func() {
			ch := make(chan func(), 1)
			go func() {
				if release, ok := b.take(n); ok {
					ch <- release
				} else {
					close(ch)
				}
			}()
			synctest.Wait()
			return ch
		}
		first := (<-take(80 << 10))
		large, small, least := take(90<<10), take(20<<10), take(budgetSmall)
		if len(large) > 0 || len(small) > 0 || len(least) != 1 {
			t.Errorf("served: %d large, %d small, %d that does not count", len(large), len(small), len(least))
		}
		first()
		first() // a second time changes nothing
		synctest.Wait()
		if len(large) != 1 || len(small) > 0 {
			t.Errorf("served: %d large, %d small", len(large), len(small))
		}
		time.Sleep(budgetWait + time.Second)
		if _, ok := <-small; ok {
			t.Error("the small one was served, though there was no room")
		}
		(<-large)()
		whole := take(10 * all) // more than there is: it has all of it
		if len(whole) != 1 || b.free != 0 {
			t.Errorf("%d served, %d left", len(whole), b.free)
		}
		(<-whole)()
		if b.free != all || len(b.waiting) != 0 {
			t.Errorf("%d are left of %d, %d wait", b.free, all, len(b.waiting))
		}
	})
}

// Where there is no room, a read is refused and a deed answered without what is
// large; neither keeps root waiting.
func TestNoRoomForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{budgets: newBudgets()}
		s.budgets.others.free = 0
		other := ipc.Peer{UID: os.Geteuid() + 1}
		if other.UID == 0 {
			other.UID = 4711
		}
		job := ipc.Job{ID: "J", Arguments: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}
		for name, c := range map[string]struct {
			by   ipc.Peer
			deed bool
			want string
		}{
			"a read":         {other, false, ""},
			"a deed":         {other, true, `"omitted":["arguments"]`},
			"a read of ours": {ipc.Peer{UID: os.Geteuid()}, false, `"arguments":"xxx`},
			"a read of root": {ipc.Peer{}, false, `"arguments":"xxx`},
		} {
			w := httptest.NewRecorder()
			err := s.writeJSON(c.by, w, 200, job, c.deed)
			if p, ok := errors.AsType[*ipc.Error](err); c.want == "" && (!ok || p.Kind != ipc.KindTooManyReaders || p.RetryAfter == 0) {
				t.Errorf("%s: %v", name, err)
			}
			if text := w.Body.String(); !strings.Contains(text, c.want) || (c.want == "") != (text == "") {
				t.Errorf("%s: %.100s", name, text)
			}
		}
	})
}

// A list that breaks off is no list: its client must not take a part for the whole.
func TestListBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	l := &listWriter{server: &Server{}, w: httptest.NewRecorder(), status: 200}
	if err := l.end(broken); !errors.Is(err, broken) {
		t.Errorf("before the first element: %v", err)
	}
	if err := l.add(1); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("it ended in order")
		}
	}()
	_ = l.end(broken)
}
