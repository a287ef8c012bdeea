package daemon

import (
	"os"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

const (
	// reserve is the part of each bound that comes on top for root and the daemon's
	// own user: who fills a bound does not lock them out.
	reserve = 8
	// reservedArguments is the most that one notify may take of it.
	reservedArguments = 4 << 10
	// boundRetry is after how many seconds a client may ask again that met a bound
	// of bytes: when the jobs before it end, nobody can tell.
	boundRetry = 10
	// keysRetry is the same for keys: old ones are looked for that often.
	keysRetry = 600
	// bulky is from how many bytes on arguments are checked one notify after the
	// other: decoded, they take up to fifty times as much.
	bulky = 64 << 10
)

// favoured reports whether a peer may use what is reserved.
func favoured(by ipc.Peer) bool { return by.UID == 0 || by.UID == os.Geteuid() }

// argumentsFull says why a notify with so many bytes of arguments, or so many more
// than the job that it joins has, cannot be accepted; nil = it can.
func (s *state) argumentsFull(spec *dispatchers.Spec, by ipc.Peer, more int64) *ipc.Error {
	if more <= 0 {
		return nil
	}
	var of int64
	if d := s.jobs.Dispatcher(spec.Name); d != nil {
		of = d.Arguments()
	}
	full := func(has, bound int64) bool {
		if favoured(by) && more <= reservedArguments {
			bound += bound / reserve
		}
		return bound > 0 && has+more > bound
	}
	var p *ipc.Error
	all, _ := s.jobs.Held()
	switch {
	case full(of, spec.MaxArgumentBytes):
		p = ipc.Errorf(ipc.KindArgumentsFull, "the queued and running jobs of dispatcher %s have %d bytes of arguments; %d more are above its max_argument_bytes of %d", spec.Name, of, more, spec.MaxArgumentBytes)
		p.Suggestion = "wait until some have ended, or pass the name of a file; see: dispatchctl jobs " + spec.Name
	case full(all, s.settings.MaxArgumentBytes):
		p = ipc.Errorf(ipc.KindArgumentsFull, "all queued and running jobs have %d bytes of arguments; %d more are above max_argument_bytes of the daemon, %d", all, more, s.settings.MaxArgumentBytes)
		p.Suggestion = "wait until some have ended, or pass the name of a file; see: dispatchctl jobs --state queued"
	default:
		return nil
	}
	s.count(spec.Name, refused)
	s.count(spec.Name, func(c *ipc.Counters) *int64 { return &c.ArgumentsFull })
	p.Dispatcher, p.RetryAfter = spec.Name, boundRetry
	return p
}

// keysFull says why a notify with a new idempotency key cannot be accepted; nil = it
// can.
func (s *state) keysFull(spec *dispatchers.Spec, k store.Key) *ipc.Error {
	if k.Key == "" {
		return nil
	}
	s.prune(0) // old ones go
	of := 0
	_, all := s.jobs.Held()
	if d := s.jobs.Dispatcher(spec.Name); d != nil {
		of = d.Keys()
	}
	full := func(has, bound int) bool {
		if favoured(ipc.Peer{UID: k.UID}) {
			bound += (bound + reserve - 1) / reserve
		}
		return bound > 0 && has >= bound
	}
	var p *ipc.Error
	switch {
	case full(of, spec.MaxKeys):
		p = ipc.Errorf(ipc.KindKeysFull, "%d idempotency keys are kept for dispatcher %s; its max_keys is %d", of, spec.Name, spec.MaxKeys)
	case full(all, s.settings.MaxKeys):
		p = ipc.Errorf(ipc.KindKeysFull, "%d idempotency keys are kept; max_keys of the daemon is %d", all, s.settings.MaxKeys)
	default:
		return nil
	}
	s.count(spec.Name, refused)
	s.count(spec.Name, func(c *ipc.Counters) *int64 { return &c.KeysFull })
	p.Dispatcher, p.RetryAfter = spec.Name, keysRetry
	p.Suggestion = "notify without a key, or again when keys are 25 hours old: those are forgotten then"
	return p
}

// usage is how much of the bounds is taken.
func (s *state) usage() (arguments, keys ipc.Usage) {
	bytes, n := s.jobs.Held()
	return ipc.Usage{Used: bytes, Max: s.settings.MaxArgumentBytes}, ipc.Usage{Used: int64(n), Max: int64(s.settings.MaxKeys)}
}

// refused picks the counter of refused notifies.
func refused(c *ipc.Counters) *int64 { return &c.Refused }
