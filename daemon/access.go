package daemon

import (
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// query is one question of access: may this peer do this, to this dispatcher,
// with this job? What a verb has no object for is nil, as in a list.
type query struct {
	Verb       server.Verb
	Peer       ipc.Peer
	Dispatcher *dispatchers.Spec
	Job        *ipc.Job
}

// allow is the one place that says who may do what. It is pure: the loop asks it
// in the same step in which it does what was asked for, so that nothing changes
// between the answer and the deed.
//
// Today whoever the socket's mode and group let in may do everything. Each verb
// still has its case here: one that is forgotten is refused, and a test finds it.
func allow(q query) error {
	if q.Peer.UID < 0 {
		return ipc.Errorf(ipc.KindForbidden, "the kernel does not say who you are")
	}
	switch q.Verb {
	case server.VerbHealth, server.VerbStatus, server.VerbRead, server.VerbOutput,
		server.VerbNotify, server.VerbRetry, server.VerbCancel, server.VerbHold,
		server.VerbPause, server.VerbReload, server.VerbDrain, server.VerbUndrain, server.VerbUpgrade:
		return nil
	}
	return ipc.Errorf(ipc.KindForbidden, "the verb %q has no access rule", q.Verb)
}
