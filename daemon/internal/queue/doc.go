// Package queue is the core of the daemon: it decides what runs when.
//
// It is pure. It reads no clock, starts no goroutine and does no I/O: events
// come in with the time at which they happened, decisions go out as effects
// that the owner performs. The same events at the same times give the same
// effects in the same order, so a transcript is a full test. Time is a
// duration since an epoch of the owner's choice.
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
// # The owner's duties
//
// The promises hold for an owner that keeps these, in this order:
//
//  1. Call from one goroutine, with a clock that does not go back.
//  2. Perform effects in order, all of them, before the next event. What there
//     is to say about one of them, such as Busy, is an event: it comes after
//     the list.
//  3. Answer each Start once: by Started, when the attempt has its locks and
//     will have an end, by Busy, when something was missing, or by Rerun, when
//     it never began. Silence proves nothing: what a start tries, because it was
//     missing before, stays closed to all other jobs until the answer.
//  4. Journal before the deed. A job whose acceptance cannot be recorded is
//     taken back by Withdraw, a Start that cannot be recorded is answered by
//     Busy with NoJournal.
//  5. Tell the end of a started attempt once: by Ended, or by Rerun where its
//     end is not known. A restored job that is Running has started.
//  6. Call Tick no later than Next says, after each event anew.
//  7. Restore all jobs of before, in their order of acceptance, and then Tick:
//     until that Tick nothing starts.
//
// An owner that keeps them looks like this; Example has the whole of it:
//
//	for {
//		timer.Reset(untilNext(core))                                // 6
//		select {
//		case <-timer.C:
//			perform(core.Tick(now()))
//		case r := <-requests:
//			v, effects, err := core.Submit(now(), r.submission)     // err: r's id is not new
//			journal.Append(accepted(r, v), r.answer)                // 4
//			perform(effects)                                        // 2
//		case a := <-begun: // its record is durable, its child exists
//			decide(core.Started(now(), a.id))                       // 3
//		case a := <-missed:
//			decide(core.Busy(now(), a.id, a.reason))                // 3
//		case a := <-over:
//			decide(core.Ended(now(), a.id, a.retryable))            // 5
//		}
//	}
//
// An event that does not fit the state of its job returns a StateError and
// changes nothing. It shows a fault of the owner, and the owner logs it.
//
// # A job's life
//
//	Submit                         Busy, Rerun
//	  │                         ┌───────────────┐
//	  ▼         quiet           ▼     Start     │     Started
//	debounce ──────────────► ready ─────────► starting ────────► running
//	  │                      ▲ ▲ │                                 │ │
//	  │             backoff ─┘ │ │        Rerun: Requeue           │ │
//	  │                ▲       └─┼─────────────────────────────────┤ │
//	  │                └─────────┼─────────────────────────────────┘ │
//	  │                          │        Ended: Requeue             │ Ended
//	  ▼ Expire, Drop             ▼ Expire, Drop                      ▼ Finish
//
// Cancel drops a queued job, and stops an active one: that is starting or
// running, and its end is Drop after Busy, Finish after Rerun and Ended. Relock
// gives a queued job the locks of a new definition; an active one keeps its own.
// Withdraw forgets a job in any state, without an effect. A restored job begins
// as debounce, ready, backoff or running.
//
// # Files
//
// From top to bottom: core.go has the state and what concerns dispatchers,
// submit.go what enters, run.go what becomes of it, schedule.go time and the
// pass that picks what starts; effect.go and reason.go are the words between
// core and owner. Below them are the parts, each with its own state: job.go,
// dispatcher.go, pending.go with timers.go and fifo.go, locks.go with
// external.go. wait.go and estimate.go answer people.
package queue
