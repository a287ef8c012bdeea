// Package queue is the core of the daemon: it decides what runs when.
//
// It is pure. It reads no clock, starts no goroutine and does no I/O: events
// come in with the time at which they happened, decisions go out as effects
// that the owner performs. The same events at the same times give the same
// effects in the same order, so a transcript is a full test. Time is a
// duration since an epoch of the owner's choice, and it must not go back. A
// Core belongs to one goroutine.
//
// What it promises:
//
//   - Jobs of one dispatcher start in order of acceptance; at most its
//     concurrency run at a time; at most max_queue are outstanding.
//   - Locks are taken all or none. An exclusive lock has one holder; a shared
//     one never meets an exclusive one.
//   - No overtaking. Candidates are looked at in order of acceptance over all
//     dispatchers, and one that has to wait claims all its locks, so nothing
//     accepted later that conflicts passes it. That is also why nothing
//     starves, and why two jobs with crossed locks do not deadlock.
//   - A queued job always has a reason to wait, and Next names the instant at
//     which time alone will change something. Without one the owner may sleep.
//   - Accepting a job costs the same whatever the length of the queue.
//
// A job's life, as the core sees it:
//
//	Submit ──► debounce ──► ready ──Start──► running ──Ended──► Finish
//	              │           │ ▲   ▲           │  │
//	              │  Expire   │ │   └───Busy────┘  │ Requeue
//	              └── Drop ◄──┘ └──── backoff ◄────┘
//
// Files: core.go holds the state and the events that define dispatchers,
// submit.go what enters, run.go what becomes of a run, schedule.go the pass
// that picks what starts, locks.go, timers.go and fifo.go the structures it
// works on, wait.go and estimate.go the answers for people.
package queue
