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

	dispatcher *Dispatcher
	at         int64
	lived      int64         // when it was used, by the store's Timeline
	gate       *durable.Gate // nil = the key is durable, as most are
}

// keyring is the idempotency keys that are kept.
type keyring struct {
	all map[store.Key]*Key
	due time.Duration // when to look for old keys again, on the store's timeline
}

// set notes the key of a record about a dispatcher.
func (k *keyring) set(r store.Record, d *Dispatcher) {
	key := keyOf(r, d.Name)
	if k.all[key] == nil {
		d.keys++
	}
	k.all[key] = &Key{Job: r.ID, Hash: r.ArgHash, dispatcher: d, at: r.At, lived: r.Lived}
}

// drop forgets keys.
func (k *keyring) drop(old func(*Key) bool) {
	maps.DeleteFunc(k.all, func(_ store.Key, v *Key) bool {
		if !old(v) {
			return false
		}
		v.dispatcher.keys--
		return true
	})
}

// prune forgets keys that are old and whose job is gone.
func (k *keyring) prune(now time.Duration, known func(ulid.ULID) bool) {
	if now < k.due {
		return
	}
	k.due = now + keysEvery
	old := seconds(now - keyLife)
	k.drop(func(v *Key) bool { return v.lived < old && !known(v.Job) })
}

// Key finds the job of an idempotency key.
func (s *State) Key(k store.Key) (*Key, bool) {
	key, ok := s.keys.all[k]
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

// known reports whether a job is open or in the history.
func (s *State) known(id ulid.ULID) bool {
	if s.jobs[id] != nil {
		return true
	}
	_, found := s.archive.index(id)
	return found
}
