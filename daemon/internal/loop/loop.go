// Package loop is a mailbox: one goroutine owns a state, and everybody else
// sends it functions.
//
// The state is reached through the argument of such a function alone, so that
// what belongs to the loop cannot be touched from elsewhere. The function runs
// to its end before the next one begins; it must not wait for the loop.
//
//	callers ──Do──▶ ┌──────┐ Due, Next   timers
//	callers ─View─▶ │ loop │◀──────────▶ Driver
//	workers ─Post─▶ └──────┘ After       status, memory
//
// A loop lives from Run to Stop. Run is started once, on a goroutine of its own;
// its first function (recovery) runs before any event does, its last ones after
// the last event.
package loop

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrClosed is what a caller gets whose function did not run, because the loop
// has been stopped.
var ErrClosed = errors.New("loop: stopped")

// requestQueue is how many events may wait for the loop before Do waits with
// them: a burst of clients then costs no switch between goroutines for each.
const requestQueue = 256

// Driver is what the owner of a state does around events. All of its functions
// run on the loop. A nil function is left out.
type Driver[S any] struct {
	// Due does what time alone has made due. It reports false where nothing was:
	// a timer that only measured a nap is no event.
	Due func(*S) bool
	// Next is how long from now the loop may sleep; false: until an event.
	Next func(*S) (time.Duration, bool)
	// After runs after each event, and not after a view.
	After func(*S)
}

// Loop is the mailbox of one goroutine. New makes it.
type Loop[S any] struct {
	state    *S
	driver   Driver[S]
	requests chan func(*S)
	views    chan func(*S) // read-only requests; they do not count as activity
	wakeup   chan struct{} // something was posted; one pending signal is enough
	stopping chan struct{} // closed when Stop begins
	done     chan struct{} // closed when Run has ended
	last     []func(*S)    // set before stopping is closed
	waiters  []*waiter[S]  // the loop's own

	mu     sync.Mutex
	posted []func(*S)
}

// waiter is a caller of Until.
type waiter[S any] struct {
	holds func(*S) bool
	met   chan struct{}
}

// New makes a loop for a state. From Run on, the state belongs to the loop.
func New[S any](state *S, d Driver[S]) *Loop[S] {
	return &Loop[S]{
		state: state, driver: d,
		requests: make(chan func(*S), requestQueue), views: make(chan func(*S)), wakeup: make(chan struct{}, 1),
		stopping: make(chan struct{}), done: make(chan struct{}),
	}
}

// Run is the loop's goroutine. It runs first, then events until Stop, then what
// Stop was given, and returns. It is called once.
func (l *Loop[S]) Run(first func(*S)) {
	defer close(l.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	if first != nil {
		first(l.state)
	}
	l.drainPosted()
	l.due()
	l.afterEvent()
	for l.event(timer) {
	}
	l.drainPosted()
	for _, fn := range l.last {
		fn(l.state)
		l.drainPosted()
	}
}

// event waits for the next event and runs it. It reports false when the loop is
// to end.
func (l *Loop[S]) event(timer *time.Timer) bool {
	l.arm(timer)
	select {
	case view := <-l.views:
		view(l.state)
		return true
	case fn := <-l.requests:
		fn(l.state)
	case <-l.wakeup:
		l.drainPosted()
	case <-timer.C:
		if !l.due() {
			return true
		}
	case <-l.stopping:
		return false
	}
	l.afterEvent()
	return true
}

// arm sets the timer to the next instant at which there is work. Without one it
// is stopped, so that an idle daemon sleeps.
func (l *Loop[S]) arm(timer *time.Timer) {
	if l.driver.Next != nil {
		if next, ok := l.driver.Next(l.state); ok {
			timer.Reset(max(0, next))
			return
		}
	}
	timer.Stop()
}

// due does what time has made due.
func (l *Loop[S]) due() bool { return l.driver.Due != nil && l.driver.Due(l.state) }

// afterEvent lets the owner look at the state, and wakes the callers of Until
// whose condition holds now.
func (l *Loop[S]) afterEvent() {
	if l.driver.After != nil {
		l.driver.After(l.state)
	}
	l.waiters = slices.DeleteFunc(l.waiters, func(w *waiter[S]) bool {
		if !w.holds(l.state) {
			return false
		}
		close(w.met)
		return true
	})
}

// Do runs fn on the loop as an event and waits for its end. It gives up when ctx
// is done, but only as long as fn has not been handed over: an error means that
// fn has not run and never will.
func (l *Loop[S]) Do(ctx context.Context, fn func(*S)) error { return l.send(ctx, l.requests, fn) }

// Send is Do without the waiting: it returns when fn has been handed over. Where
// the loop ends before fn's turn comes, fn never runs; Done tells of that.
func (l *Loop[S]) Send(ctx context.Context, fn func(*S)) error { return l.hand(ctx, l.requests, fn) }

// View is Do for a function that only reads: it does not count as activity.
func (l *Loop[S]) View(ctx context.Context, fn func(*S)) error { return l.send(ctx, l.views, fn) }

// send hands fn to the loop and waits for its end.
func (l *Loop[S]) send(ctx context.Context, to chan func(*S), fn func(*S)) error {
	ran := make(chan struct{})
	if err := l.hand(ctx, to, func(s *S) { fn(s); close(ran) }); err != nil {
		return err
	}
	select {
	case <-ran:
		return nil
	case <-l.done:
	}
	// Both may have come at once, and select chooses by chance.
	select {
	case <-ran:
		return nil
	default:
		return ErrClosed
	}
}

// hand puts fn before the loop.
func (l *Loop[S]) hand(ctx context.Context, to chan func(*S), fn func(*S)) error {
	select {
	case to <- fn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopping:
		return ErrClosed
	}
}

// Post sends fn to the loop and never waits, so that the loop itself may post.
// Posted functions run in their order. Its callers bound how many there are: runs,
// and records on their way to the disk. What is posted after the end of Run is
// dropped.
func (l *Loop[S]) Post(fn func(*S)) {
	l.mu.Lock()
	l.posted = append(l.posted, fn)
	l.mu.Unlock()
	select {
	case l.wakeup <- struct{}{}:
	default: // the loop has been told, and not looked yet
	}
}

// drainPosted runs what was posted, also what is posted meanwhile.
func (l *Loop[S]) drainPosted() {
	for {
		l.mu.Lock()
		list := l.posted
		l.posted = nil
		l.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, fn := range list {
			fn(l.state)
		}
	}
}

// Until waits until holds is true after an event, or at once if it is true now.
func (l *Loop[S]) Until(ctx context.Context, holds func(*S) bool) error {
	w := &waiter[S]{holds: holds, met: make(chan struct{})}
	if err := l.Do(ctx, func(*S) { l.waiters = append(l.waiters, w) }); err != nil {
		return err
	}
	select {
	case <-w.met:
		return nil
	case <-ctx.Done():
		l.Post(func(*S) {
			l.waiters = slices.DeleteFunc(l.waiters, func(o *waiter[S]) bool { return o == w })
		})
		return ctx.Err()
	case <-l.done:
		return ErrClosed
	}
}

// Stop ends the loop and returns when Run has. No event runs after it but what
// has been posted: last runs on the loop, one after the other, and before and
// behind each of them what was posted by then. Stop is called once, and not from
// the loop.
func (l *Loop[S]) Stop(last ...func(*S)) {
	l.last = last
	close(l.stopping)
	<-l.done
}

// Stopping is closed when Stop begins: from then on Do and View are refused.
func (l *Loop[S]) Stopping() <-chan struct{} { return l.stopping }

// Done is closed when the loop has ended.
func (l *Loop[S]) Done() <-chan struct{} { return l.done }
