// Package durable decides what may be told: a client hears of a change only
// once a crash cannot take it back.
//
// The owner applies a record to its state, and gives it to Log.Write together
// with the gates of all that the record is about: the job, the idempotency key,
// the dispatcher. Each gate is Writing from then on, and Durable once the
// journal has answered for every record of it. What waits at a gate is called
// then.
//
// A record that cannot be written leaves its gates Failed. The state has the
// change, the disk does not. If the journal is broken, Log writes a whole new
// one from the owner's state every 500 ms until the disk takes it; nothing is
// accepted meanwhile. That journal holds what failed, so its gates open.
//
// # Whose goroutine
//
// Gates and Log belong to their owner's goroutine. The journal answers on its
// own: Log queues the answers and has the owner drain them through Owner.Post.
// So an answer never runs in the middle of something else, and answers keep the
// order in which the journal gave them.
package durable
