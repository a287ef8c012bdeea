package server

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// Bounds of a request. The guard refuses a larger one with a typed error.
const (
	maxBody   = 1 << 20
	maxHeader = 3 << 10 // all header lines together
	maxKey    = 128
	maxDrain  = 16 << 20 // of a body that is too large: read and dropped, for a peer that writes all before it reads
)

// Times bound how slow a peer may be. A field that is 0 has its default.
type Times struct {
	Header time.Duration // from a request's first byte to the end of its header; 5 s
	Body   time.Duration // for the whole body; 10 s
	Write  time.Duration // for the peer to read one piece of an answer; 30 s
	Idle   time.Duration // between two requests; 2 min
	Call   time.Duration // for the Backend, where it is not asked to wait; 1 min
}

// orDefault replaces each zero by its default.
func (t Times) orDefault() Times {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&t.Header, 5*time.Second)
	set(&t.Body, 10*time.Second)
	set(&t.Write, 30*time.Second)
	set(&t.Idle, 2*time.Minute)
	set(&t.Call, time.Minute)
	return t
}

// defaultConns bounds open connections where no setting does.
const defaultConns = 512

// connLimit bounds open connections: as many as are wanted, but never more than
// half of the descriptors that the process may have (RLIMIT_NOFILE). Jobs, their
// output and their locks need the other half.
func connLimit(want int) int {
	if want <= 0 {
		want = defaultConns
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return want
	}
	if half := uint64(files.Cur) / 2; half < uint64(want) {
		return max(1, int(half))
	}
	return want
}

// refusals counts requests and connections that a bound refused.
type refusals struct {
	connections, headers, bodies, foreign, malformed, slow atomic.Int64
}

// count counts one refusal by its kind.
func (r *refusals) count(k ipc.Kind) {
	switch k {
	case ipc.KindTooManyConnections:
		r.connections.Add(1)
	case ipc.KindHeaderTooLarge:
		r.headers.Add(1)
	case ipc.KindBodyTooLarge:
		r.bodies.Add(1)
	case ipc.KindForbidden:
		r.foreign.Add(1)
	case ipc.KindRequestTimeout:
		r.slow.Add(1)
	default:
		r.malformed.Add(1)
	}
}

// addCounters adds the socket's own figures to the Backend's status.
func (s *Server) addCounters(st ipc.Status, err error) (ipc.Status, error) {
	st.API = ipc.API{
		Connections: int64(s.conns.count()), MaxConnections: int64(s.opts.MaxConns),
		Reserved: int64(s.places.reserved()), Descriptors: int64(s.conns.taken()), Waiting: int64(s.conns.waits()), Clients: s.conns.clients(),
		Refused: ipc.APIRefusals{
			Connections: s.refused.connections.Load(), Headers: s.refused.headers.Load(), Bodies: s.refused.bodies.Load(),
			Foreign: s.refused.foreign.Load(), Malformed: s.refused.malformed.Load(), Slow: s.refused.slow.Load(),
		},
	}
	return st, err
}
