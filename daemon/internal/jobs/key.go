package jobs

import (
	"maps"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
)

const (
	keyLife   = 25 * time.Hour   // a key is kept so long at least: a daily caller's repeat finds it
	keysEvery = 10 * time.Minute // how often old keys are looked for: all are looked at
)

// Key is the job of an idempotency key.
type Key struct {
	Job  ulid.ULID
	Hash string // of the arguments

	at   int64
	gate *durable.Gate // nil = the key is durable, as most are
}

// Key finds the job of an idempotency key.
func (s *State) Key(k store.Key) (*Key, bool) {
	key, ok := s.keys[k]
	return key, ok
}

// Gate keeps back the answer to a repeated key: a crash must not give the key to
// another job.
func (k *Key) Gate() *durable.Gate {
	if k.gate == nil {
		return &durable.Gate{}
	}
	return k.gate
}

// begin gives the key a gate for the record that brings it.
func (k *Key) begin() *durable.Gate {
	if k.gate == nil {
		k.gate = &durable.Gate{}
		k.gate.OnDurable(func() { k.gate = nil })
	}
	return k.gate
}

// keyOf is the idempotency key of a record about a dispatcher.
func keyOf(r store.Record, dispatcher string) store.Key {
	return store.Key{UID: r.KeyUID, Dispatcher: dispatcher, Key: r.Key}
}

// pruneKeys forgets keys that are old and whose job is gone.
func (s *State) pruneKeys(now time.Time) {
	if now.Before(s.keysAt) {
		return
	}
	s.keysAt = now.Add(keysEvery)
	old := now.Add(-keyLife).UnixNano()
	maps.DeleteFunc(s.keys, func(_ store.Key, k *Key) bool { return k.at < old && !s.known(k.Job) })
}

// known reports whether a job is open or in the history.
func (s *State) known(id ulid.ULID) bool {
	if s.jobs[id] != nil {
		return true
	}
	_, found := s.archive.index(id)
	return found
}
