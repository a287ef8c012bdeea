// Package jobs keeps the jobs of a daemon and what is known of their
// dispatchers: one Job and one Dispatcher object each, and State, which finds
// them. It does no I/O and has no clock; records come in, views go out.
//
// # One place where a job changes
//
// State.Apply folds a record in, live; the journal's replay goes through the
// same code. The owner applies a record first, and gives it to durable.Log with
// State.Gates then: so what the queue decides next sees the change, and what
// clients are told waits for the disk. A store.Job that was given out never
// changes: each change makes a new one, so that it may be encoded meanwhile.
//
// # What may be told
//
// A Job whose end is not durable is told of as it was before (Job.Told), and
// stays here beside its entry in the archive. Once its gate opens, those who
// wait for the end are woken, its dispatcher's last job is noted, and the object
// is forgotten; the archive has it. An acceptance that failed is withdrawn: the
// job was never there.
//
// # Events
//
// Each record that was applied makes an Event. Subscribers get it once its
// record is durable, in the order of records; a record that waits for the disk
// holds back those behind it. Without a subscriber nothing is kept.
//
// # Whose goroutine
//
// All of it belongs to one goroutine, the daemon's loop. What was given out as
// *store.Job may be read by any.
package jobs
