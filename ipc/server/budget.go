package server

import (
	"sync"
	"time"

	"dispatchd/ipc"
)

const (
	// budgetSmall is what a body or an answer may have without being counted: of
	// those there are no more than connections.
	budgetSmall = 16 << 10
	// budgetOthers is what all larger ones may have together, and budgetOwn the same
	// for root and the daemon's own user, whom nobody else keeps waiting.
	budgetOthers = 8 << 20
	budgetOwn    = 4 << 20
	// budgetWait is how long one waits for its turn.
	budgetWait = 10 * time.Second
)

// budget bounds the bytes of the bodies that are read and of the answers that are
// built in memory, over all connections: 60 clients that ask for a long list and
// do not read it took 800 MB. Who comes first is served first.
type budget struct {
	all     int64
	mu      sync.Mutex
	free    int64
	waiting []*turn
}

func newBudget(all int64) *budget { return &budget{all: all, free: all} }

// turn is a request that waits for its bytes.
type turn struct {
	bytes int64
	come  chan struct{}
}

// budgets are those of a server.
type budgets struct{ others, own *budget }

func newBudgets() budgets { return budgets{others: newBudget(budgetOthers), own: newBudget(budgetOwn)} }

// of is the budget that a peer's requests count for.
func (b budgets) of(by ipc.Peer) *budget {
	if privileged(by) {
		return b.own
	}
	return b.others
}

// take waits for so many bytes, at most all there are, and gives the function that
// gives them back. It reports false where they were not to be had in time.
func (b *budget) take(bytes int64) (release func(), ok bool) {
	if bytes <= budgetSmall {
		return func() {}, true
	}
	bytes = min(bytes, b.all)
	var once sync.Once
	release = func() { once.Do(func() { b.give(bytes) }) }
	b.mu.Lock()
	if len(b.waiting) == 0 && b.free >= bytes {
		b.free -= bytes
		b.mu.Unlock()
		return release, true
	}
	t := &turn{bytes, make(chan struct{})}
	b.waiting = append(b.waiting, t)
	b.mu.Unlock()
	timer := time.NewTimer(budgetWait)
	defer timer.Stop()
	select {
	case <-t.come:
		return release, true
	case <-timer.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-t.come: // just now
		return release, true
	default:
	}
	for i, w := range b.waiting {
		if w == t {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			break
		}
	}
	b.serve()
	return func() {}, false
}

// give gives bytes back.
func (b *budget) give(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += bytes
	b.serve()
}

// serve lets those go on for whom there are bytes, in their order.
func (b *budget) serve() {
	for len(b.waiting) > 0 && b.waiting[0].bytes <= b.free {
		b.free -= b.waiting[0].bytes
		close(b.waiting[0].come)
		b.waiting = b.waiting[1:]
	}
}

// take waits for a peer's bytes. The end of the client's side does not end that: one
// that has closed it has its answer.
func (b budgets) take(by ipc.Peer, bytes int64) (release func(), err error) {
	of := b.of(by)
	release, ok := of.take(bytes)
	if !ok {
		p := ipc.Errorf(ipc.KindTooManyReaders, "requests and answers that are on their way take all of the %d bytes there are for them", of.all)
		p.RetryAfter, p.Suggestion = 1, "read the answers that you asked for, or ask for less at once"
		err = p
	}
	return release, err
}

// large is about how many bytes the parts of a value take that may be large; the
// rest of it is small.
func large(v any) int64 {
	switch v := v.(type) {
	case ipc.Job:
		return jobBytes(&v)
	case ipc.Notified:
		return jobBytes(&v.Job)
	case []ipc.Lock:
		n := 0
		for i := range v {
			n += 32 * len(v[i].Waiters)
		}
		return int64(n)
	case []ipc.Dispatcher:
		return int64(len(v)) << 10
	case []ipc.Schedule:
		n := 0
		for i := range v {
			n += 300 + 40*len(v[i].Next)
		}
		return int64(n)
	}
	return 0
}

// jobBytes is large of a job.
func jobBytes(j *ipc.Job) int64 {
	n := len(j.Arguments) + len(j.Result) + 100*len(j.Notifiers) + 200*len(j.Attempts)
	if j.Error != nil {
		n += len(j.Error.Detail)
	}
	return int64(n)
}

// without leaves the large parts out of a job that a deed is answered with: the
// deed is done, whether there is room for the whole answer or not.
func without(v any) (any, bool) {
	cut := func(j *ipc.Job) {
		if len(j.Arguments) > 0 {
			j.Arguments, j.Omitted = nil, append(j.Omitted, "arguments")
		}
		if len(j.Result) > 0 {
			j.Result, j.Omitted = nil, append(j.Omitted, "result")
		}
	}
	switch v := v.(type) {
	case ipc.Job:
		cut(&v)
		return v, true
	case ipc.Notified:
		cut(&v.Job)
		return v, true
	}
	return v, false
}
