package server

import (
	"cmp"
	"context"
	"os"
	"slices"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/peer"
)

// maxReserved bounds how many places are kept for root and the daemon's own user.
const maxReserved = 64

// evictAfter is how long a connection may be without a whole request before it may
// be closed for another's sake: the client of a new one is about to send.
const evictAfter = 100 * time.Millisecond

// places says which connections there may be, what they may have open, and how many
// may wait.
type places struct {
	conns      *connTracker
	limit      int                 // of descriptors
	privileged func(ipc.Peer) bool // whose places are kept
	crowd      int                 // with more connections a process has none of these
	refused    *refusals
}

// newPlaces makes those of a server with these options.
func newPlaces(o Options, conns *connTracker, refused *refusals) places {
	p := places{conns: conns, limit: o.MaxConns, privileged: o.privileged, crowd: o.crowd, refused: refused}
	if p.privileged == nil {
		p.privileged = privileged
	}
	if p.crowd == 0 {
		p.crowd = max(4, p.reserved()/2)
	}
	return p
}

// reserved is how many places strangers cannot take, and waits neither.
func (p places) reserved() int { return min(maxReserved, p.limit/8) }

// free is how many places there are for everybody.
func (p places) free() int { return p.limit - p.reserved() }

// privileged reports whether a peer is root or the daemon's own user.
func privileged(p ipc.Peer) bool { return p.UID == 0 || p.UID == os.Geteuid() }

// favoured reports whether a connection may take a place that is kept: it is
// root's, or the daemon's own user's, and its process has no crowd of them. One
// program of root's with hundreds of connections keeps the next one out no more than
// a stranger's does.
func (p places) favoured(c *conn) bool {
	if c.err != nil || !p.privileged(c.peer) {
		return false
	}
	return c.peer.PID == 0 || p.conns.ofProcess(c.peer) <= p.crowd
}

// admit gives a new connection its place, and reports false where there is none
// even for a refusal in words. Where all are taken, a connection that serves no
// request makes room.
func (p places) admit(c *conn) bool {
	taken := p.conns.opened(c)
	if taken <= p.free() {
		return true
	}
	favoured := p.favoured(c)
	if favoured && taken <= p.limit || p.evict(c, evictAfter) {
		return true
	}
	c.overLimit = true
	if !favoured {
		// So many wait to be told, and not so many that they take what is kept.
		return taken <= p.free()+max(4, p.reserved()/2)
	}
	// Root is answered even in the middle of a flood: it takes the place of one that
	// has come just now and has sent nothing yet.
	return taken <= p.hardLimit() || p.evict(c, 0)
}

// hardLimit is the number of descriptors above which the listener answers without
// reading. A connection between the limit and this one gets its refusal as the
// answer to a request, which every client understands; root and the daemon's own
// user get an answer to what does not wait.
func (p places) hardLimit() int { return p.limit + max(4, min(64, p.limit/8)) }

// crowdedOut refuses a request of a connection that had no place when it came, and
// still has none. What root asks is answered; what waits is refused later.
func (p places) crowdedOut(c *conn) bool {
	return c.overLimit && p.conns.taken() > p.free() && !p.favoured(c)
}

// beginWait counts a request that waits for what may take for ever. Waits cannot
// take the places that are kept: one too many is refused.
func (p places) beginWait(ctx context.Context) (end func(), err error) {
	c, ok := connOf(ctx)
	if !ok {
		return func() {}, nil
	}
	if c.overLimit && p.conns.taken() > p.limit || !p.conns.beginWait(c, max(1, p.free())) {
		return nil, p.refuse(", and this request waits")
	}
	return func() { p.conns.endWait(c) }, nil
}

// openFile counts a descriptor that an answer needs besides its connection's: the
// half of the process's descriptors that connections may take is for both.
func (p places) openFile(ctx context.Context) (done func(), err error) {
	c, ok := connOf(ctx)
	if !ok {
		return func() {}, nil
	}
	if !p.conns.openFile(p.free()) && !(p.favoured(c) && p.conns.openFile(p.hardLimit())) {
		return nil, p.refuse(", with the files that answers have open")
	}
	return p.conns.closeFile, nil
}

// tooMany is the refusal for the sake of the connections that are open.
func (p places) tooMany() *ipc.Error {
	e := ipc.Errorf(ipc.KindTooManyConnections, "more than %d connections are open", p.limit)
	e.RetryAfter = 1
	return e
}

// refuse counts a refusal of what an answer needs besides a place, and words it.
func (p places) refuse(what string) *ipc.Error {
	e := p.tooMany()
	e.Detail += what
	p.refused.count(e.Kind)
	return e
}

// evict closes a connection that serves no request, to make room for a new one. It
// takes the one that has been so for longest, of the user who has most; nobody
// makes room for a stranger but strangers. age is how long it must have been so.
func (p places) evict(comer *conn, age time.Duration) bool {
	victim := p.conns.victim(comer, p.privileged, age)
	if victim == nil {
		return false
	}
	if !victim.hadRequest.Load() {
		victim.tellNoPlace()
	}
	_ = victim.Close()
	return true
}

// victim picks the connection for evict, and marks it.
func (t *connTracker) victim(comer *conn, privileged func(ipc.Peer) bool, age time.Duration) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := time.Now().Add(-age).UnixNano()
	strangersOnly := comer.err != nil || !privileged(comer.peer)
	count := map[int]int{}
	var idle []*conn
	for c := range t.open {
		count[c.peer.UID]++
		state := c.state.Load()
		if c == comer || state != stateIdle && state != stateHeader || c.handling.Load() || c.since.Load() > before {
			continue
		}
		if strangersOnly && c.err == nil && privileged(c.peer) {
			continue
		}
		idle = append(idle, c)
	}
	slices.SortFunc(idle, func(a, b *conn) int {
		return cmp.Or(cmp.Compare(count[b.peer.UID], count[a.peer.UID]), cmp.Compare(a.since.Load(), b.since.Load()))
	})
	for _, c := range idle {
		if c.hasInput() {
			continue // a request is there, and is about to be read
		}
		if c.state.CompareAndSwap(stateIdle, stateEvicted) || c.state.CompareAndSwap(stateHeader, stateEvicted) {
			return c
		}
	}
	return nil
}

// maxClients bounds how many processes the status names.
const maxClients = 10

// clients counts the connections of each process, those with most first.
func (t *connTracker) clients() []ipc.APIClient {
	by := map[ipc.Peer]*ipc.APIClient{}
	t.mu.Lock()
	for c := range t.open {
		one := by[c.peer]
		if one == nil {
			one = &ipc.APIClient{Peer: c.peer}
			by[c.peer] = one
		}
		one.Connections++
		if c.waits.Load() {
			one.Waiting++
		}
	}
	t.mu.Unlock()
	list := make([]ipc.APIClient, 0, len(by))
	for _, one := range by {
		list = append(list, *one)
	}
	slices.SortFunc(list, func(a, b ipc.APIClient) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), cmp.Compare(a.UID, b.UID), cmp.Compare(a.PID, b.PID))
	})
	list = list[:min(len(list), maxClients)]
	for i := range list {
		if list[i].PID > 0 {
			list[i].Process = peer.Name(list[i].PID)
		}
	}
	return list
}
