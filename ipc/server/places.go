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

// reserved is how many places strangers cannot take, and waits neither.
func (s *Server) reserved() int { return min(maxReserved, s.opts.MaxConns/8) }

// privileged reports whether a peer is root or the daemon's own user.
func privileged(p ipc.Peer) bool { return p.UID == 0 || p.UID == os.Geteuid() }

// favoured reports whether a connection may take a place that is kept: it is
// root's, or the daemon's own user's, and its process has no crowd of them. One
// program of root's with hundreds of connections keeps the next one out no more than
// a stranger's does.
func (s *Server) favoured(c *conn) bool {
	if c.err != nil || !s.opts.privileged(c.peer) {
		return false
	}
	crowd := s.opts.crowd
	if crowd == 0 {
		crowd = max(4, s.reserved()/2)
	}
	return c.peer.PID == 0 || s.conns.ofProcess(c.peer) <= crowd
}

// admit gives a new connection its place, and reports false where there is none
// even for a refusal in words. Where all are taken, a connection that serves no
// request makes room.
func (s *Server) admit(c *conn) bool {
	free := s.opts.MaxConns - s.reserved() // for everybody
	taken := s.conns.opened(c)
	if taken <= free {
		return true
	}
	favoured := s.favoured(c)
	if favoured && taken <= s.opts.MaxConns || s.conns.evict(c, s.opts.privileged, evictAfter) {
		return true
	}
	c.overLimit = true
	if !favoured {
		// So many wait to be told, and not so many that they take what is kept.
		return taken <= free+max(4, s.reserved()/2)
	}
	// Root is answered even in the middle of a flood: it takes the place of one that
	// has come just now and has sent nothing yet.
	return taken <= s.hardLimit() || s.conns.evict(c, s.opts.privileged, 0)
}

// hardLimit is the number of descriptors above which the listener answers without
// reading. A connection between the limit and this one gets its refusal as the
// answer to a request, which every client understands; root and the daemon's own
// user get an answer to what does not wait.
func (s *Server) hardLimit() int {
	return s.opts.MaxConns + max(4, min(64, s.opts.MaxConns/8))
}

// crowdedOut refuses a request of a connection that had no place when it came, and
// still has none. What root asks is answered; what waits is refused later.
func (s *Server) crowdedOut(c *conn) bool {
	return c.overLimit && s.conns.taken() > s.opts.MaxConns-s.reserved() && !s.favoured(c)
}

// beginWait counts a request that waits for what may take for ever. Waits cannot
// take the places that are kept: one too many is refused.
func (s *Server) beginWait(ctx context.Context) (end func(), err error) {
	c, ok := connOf(ctx)
	if !ok {
		return func() {}, nil
	}
	limit := max(1, s.opts.MaxConns-s.reserved())
	if c.overLimit && s.conns.taken() > s.opts.MaxConns || !s.conns.beginWait(c, limit) {
		p := s.tooManyConns()
		p.Detail += ", and this request waits"
		s.countRefusal(p.Kind)
		return nil, p
	}
	return func() { s.conns.endWait(c) }, nil
}

// openFile counts a descriptor that an answer needs besides its connection's: the
// half of the process's descriptors that connections may take is for both.
func (s *Server) openFile(ctx context.Context) (done func(), err error) {
	c, ok := connOf(ctx)
	if !ok {
		return func() {}, nil
	}
	limit := s.opts.MaxConns - s.reserved()
	if s.favoured(c) {
		limit = s.hardLimit()
	}
	if !s.conns.openFile(c, limit) {
		p := s.tooManyConns()
		p.Detail += ", with the files that answers have open"
		s.countRefusal(p.Kind)
		return nil, p
	}
	return func() { s.conns.closeFile(c) }, nil
}

// opened counts a new connection and gives the number of descriptors in use.
func (t *connTracker) opened(c *conn) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[c] = struct{}{}
	return len(t.open) + t.files
}

// ofProcess counts the connections of one process.
func (t *connTracker) ofProcess(p ipc.Peer) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for c := range t.open {
		if c.peer.PID == p.PID {
			n++
		}
	}
	return n
}

// taken is the number of descriptors in use.
func (t *connTracker) taken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open) + t.files
}

// openFile counts one more descriptor of a connection, unless limit are in use.
func (t *connTracker) openFile(c *conn, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open)+t.files >= limit {
		return false
	}
	t.files++
	c.files.Add(1)
	return true
}

// closeFile counts its end.
func (t *connTracker) closeFile(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files--
	c.files.Add(-1)
}

// beginWait counts a request that waits, unless limit do.
func (t *connTracker) beginWait(c *conn, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting >= limit {
		return false
	}
	t.waiting++
	c.waits.Store(true)
	return true
}

// endWait counts its end.
func (t *connTracker) endWait(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting--
	c.waits.Store(false)
}

// evict closes a connection that serves no request, to make room for a new one. It
// takes the one that has been so for longest, of the user who has most; nobody
// makes room for a stranger but strangers. age is how long it must have been so.
func (t *connTracker) evict(comer *conn, privileged func(ipc.Peer) bool, age time.Duration) bool {
	victim := t.victim(comer, privileged, age)
	if victim == nil {
		return false
	}
	if !victim.hadRequest.Load() {
		victim.server.countRefusal(ipc.KindTooManyConnections)
		_, _ = victim.write(rawProblem(victim.server.tooManyConns()))
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
			list[i].Process = peer.Look(list[i].PID).Name
		}
	}
	return list
}
