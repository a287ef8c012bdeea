//go:build linux && crash

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// load is several callers of one box.
type load struct {
	box   *crashBox
	book  *book
	pause time.Duration // longest between two asks of a caller
	told  chan struct{} // gets one for each answer, if somebody listens
	wg    sync.WaitGroup

	last   context.Context // done when nobody waits for answers any more
	giveUp context.CancelFunc
}

// start lets n callers ask until ctx is done; then each goes on until what it
// asked last is answered.
func (l *load) start(ctx context.Context, n int, seed uint64) {
	for i := range n {
		lane := seed<<8 + uint64(i)
		l.wg.Go(func() { (&caller{load: l, rng: random(lane), name: fmt.Sprintf("c%d", i)}).run(ctx) })
	}
}

// caller is one client: it asks, repeats what was not answered, asks again for
// what was, and looks for the ends of its jobs.
type caller struct {
	*load
	rng  *rand.Rand
	name string
	n    int
	own  []*ask // answered
}

func (c *caller) run(stop context.Context) {
	for stop.Err() == nil {
		c.ask(c.next())
		if len(c.own) > 0 && c.rng.IntN(100) < 15 {
			c.again(c.own[c.rng.IntN(len(c.own))])
		}
		if len(c.own) > 0 && c.rng.IntN(100) < 30 {
			c.look(stop, c.own[len(c.own)-1-c.rng.IntN(min(len(c.own), 4))])
		}
		select {
		case <-time.After(time.Duration(c.rng.Int64N(int64(c.pause) + 1))):
		case <-stop.Done():
		}
	}
}

// next thinks of something new to ask.
func (c *caller) next() *ask {
	c.n++
	r := c.book.rules[c.rng.IntN(len(c.book.rules))]
	a := &ask{dispatcher: r.name, key: fmt.Sprintf("%s.%d", c.name, c.n)}
	args := fmt.Sprintf(`{"k":%q,"ms":%d,"fails":%d}`, a.key, c.life(), c.rng.IntN(5)/2*min(1, r.retries))
	if r.coalesce {
		args = `{"ms":5}` // equal ones join
	}
	a.args = json.RawMessage(args)
	return a
}

// life is how many milliseconds a child is to live: mostly few, sometimes so
// many that it outlives the daemon and meets the next one.
func (c *caller) life() int {
	if c.rng.IntN(5) == 0 {
		return 20 + c.rng.IntN(180)
	}
	return c.rng.IntN(10)
}

// ask sends until there is an answer, with the same key each time, and now and
// then twice at once.
func (c *caller) ask(a *ask) {
	a.sent = now()
	c.book.mu.Lock()
	c.book.asks = append(c.book.asks, a)
	c.book.mu.Unlock()
	refused, senders := 0, 1
	if c.rng.IntN(8) == 0 {
		senders = 2
	}
	var both sync.WaitGroup
	for range senders {
		both.Go(func() {
			switch id, err := c.send(a); {
			case err == nil:
				c.book.answered(a, id)
			case isKind(err, ipc.KindQueueFull):
				c.book.mu.Lock()
				refused++
				c.book.mu.Unlock()
			}
		})
	}
	both.Wait()
	if len(a.jobs) == 0 {
		a.refused = refused > 0
		return
	}
	c.own = append(c.own, a)
	c.tell()
}

// tell lets somebody who waits for it know that a caller was told something:
// the worst moment for a crash.
func (l *load) tell() {
	select {
	case l.told <- struct{}{}:
	default:
	}
}

// again asks once more with a key that was answered: the job must be the same.
func (c *caller) again(a *ask) {
	id, err := c.send(a)
	if err != nil {
		c.book.fault("key %s of %s was answered, and asked again: %v", a.key, a.dispatcher, err)
		return
	}
	c.book.answered(a, id)
}

// send notifies until the daemon answers. No answer is in order only from one
// that dies.
func (c *caller) send(a *ask) (string, error) {
	for ctx := c.last; ; {
		l, err := c.box.usable(ctx)
		if err != nil {
			return "", fmt.Errorf("no daemon to ask: %w", err)
		}
		n, err := c.box.Client.Notify(ctx, ipc.NotifyRequest{Dispatcher: a.dispatcher, Arguments: a.args, IdempotencyKey: a.key})
		if err == nil {
			return n.ID, nil
		}
		if isKind(err, ipc.KindQueueFull) {
			return "", err
		}
		leaving := l.leaving.Load() || box.Over(l.Dead) // then its successor answered, and may be leaving
		if p, typed := errors.AsType[*ipc.Error](err); typed && p.Kind != ipc.KindUnavailable && (p.Kind != ipc.KindDraining || !leaving) {
			c.book.fault("notify of %s: %v", a.dispatcher, err)
			return "", err
		}
		again := patience / 4
		if leaving {
			again = 5 * time.Millisecond
		}
		select {
		case <-l.Dead:
		case <-time.After(again):
			if !leaving && !l.leaving.Load() {
				c.book.fault("a living daemon did not answer a notify of %s: %v", a.dispatcher, err)
				return "", err
			}
		}
	}
}

// look asks for a job's end, waiting for it or not, and notes what it is told.
func (c *caller) look(stop context.Context, a *ask) {
	ctx, cancel := context.WithTimeout(stop, 50*time.Millisecond)
	defer cancel()
	ask := c.box.Client.Job
	if c.rng.IntN(2) == 0 {
		ask = c.box.Client.Await
	}
	job, err := ask(ctx, a.jobs[0])
	if err != nil || !job.State.Final() {
		return // killed meanwhile, or not yet
	}
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	c.book.seen = append(c.book.seen, seen{job.ID, job.State, job.Attempt})
	c.tell()
}

func isKind(err error, k ipc.Kind) bool {
	p, ok := errors.AsType[*ipc.Error](err)
	return ok && p.Kind == k
}
