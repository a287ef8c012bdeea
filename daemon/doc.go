// Package daemon runs dispatchers: it accepts notifies, keeps them in a durable
// journal, and runs each as a supervised child process, one at a time and
// within its bounds.
//
// # How it is built
//
// One goroutine, the loop (daemon/internal/loop), owns the queue (daemon/internal/queue), the book of
// jobs (store.Book) and the table of active runs. Everybody else sends it
// functions by do and post. The queue decides and returns effects; perform is
// the only place where a decision becomes a deed, and its order is always:
// locks on disk, journal, then the process.
//
//	ipc/server ──do──▶ loop ──▶ queue ──effects──▶ perform ──▶ store.Journal
//	                    ▲                             │
//	                    └──────────post───────────────┴──▶ run (a goroutine an attempt)
//
// Schedules (scheduler.Agenda) belong to the loop too: its timer is the queue's
// and theirs. A due time is submitted like a notify, and where the schedule
// stands is in the same journal record as the job. A cache's data is put in its
// place by the goroutine that follows the run, before anybody is told of the
// run's end; readers need the loop only when they want a refresh.
//
// # Its files, from top to bottom
//
// A file uses those below it. What runs back up is counted (test/rules).
//
//	foreground.go  dispatchd run: one run without a daemon
//	shim.go        a job's supervisor
//	daemon.go      the order of start and stop
//	upgrade.go     the next image of the program, in place
//	inherited.go   what it gets from the one before
//	recover.go     the jobs of the journal at start
//	backend.go     what the API asks of jobs
//	operate.go     what the API asks of dispatchers and the daemon
//	caching.go     caches and their refreshes
//	reload.go      definitions, read again
//	schedule.go    due times become jobs
//	notify.go      a notify, from its check to its record
//	perform.go     decisions become deeds
//	attempt.go     what an attempt reports
//	ending.go      ends that are not durable yet
//	view.go        what is told of jobs, dispatchers and locks
//	access.go      who may do what
//	sdnotify.go    the service manager
//	epoch.go       this boot, this run directory
//	state.go       what the loop owns
//	memory.go      memory given back
//	host.go        what needs no loop
//
// # What it promises
//
// A notify is answered only when its journal record is durable. A job's start
// is durable before its child exists, unless on_interrupt = "rerun". Locks are
// kernel locks on files that stay, so what dies frees them. No handler
// recovers: a crash with a clean restart beats a held lock.
package daemon
