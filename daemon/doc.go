// Package daemon runs dispatchers: it accepts notifies, keeps them in a durable
// journal, and runs each as a supervised child process, one at a time and
// within its bounds.
//
// # How it is built
//
// One goroutine, the loop (daemon/internal/loop), owns the state: the queue
// (daemon/internal/queue), the jobs and dispatchers (daemon/internal/jobs), what
// may be told of them (daemon/internal/durable) and the schedules
// (daemon/internal/schedules). A function gets the state as its argument when it
// runs there, and there is no other way to it. The queue decides and returns
// effects; performer is the only place where a decision becomes a deed, and its
// order is always: locks on disk, journal, then the process.
//
//	ipc/server ──do──▶ loop ──▶ queue ──effects──▶ performer ──▶ durable.Log ──▶ store.Journal
//	                    ▲                             │
//	                    └──────────post───────────────┴──▶ run (a goroutine an attempt)
//
// A due time and a cache's refresh are submitted like a notify, and where a
// schedule stands is in the same journal record as the job. A cache's data is put
// in its place by the attempt's goroutine, before anybody is told of its end;
// readers need the loop only when they want a refresh.
//
// What the loop does is layered, each layer a type over the one below: views say
// what is, performer does, admission lets jobs in, timetable brings due times,
// definitions come and go, recovery brings back what was before.
//
// # Its files, from top to bottom
//
// A file uses those below it. What runs back up is counted (test/rules).
//
//	foreground.go  dispatchd run: one run without a daemon
//	daemon.go      the order of start and stop
//	upgrade.go     the next image of the program, in place
//	recover.go     the jobs of the journal at start, and their end at a stop
//	reload.go      definitions, read again
//	operate.go     what the API asks of dispatchers and the daemon
//	caching.go     caches and their refreshes
//	schedule.go    due times become jobs
//	notify.go      a notify, from its check to its record
//	bounds.go      what there is room for
//	backend.go     what the API asks of jobs
//	perform.go     decisions become deeds
//	attempt.go     what an attempt reports
//	retention.go   what is kept of history, keys and logs
//	view.go        what is told of jobs, dispatchers and locks
//	output.go      what jobs, and what they left running, have printed
//	watch.go       the daemon's own files, that they stay where they are
//	room.go        disks that have too little room to start anything
//	state.go       what the loop owns
//	epoch.go       this boot, this run directory
//	machine.go     which machine this is
//	host.go        what needs no loop
//	door.go        a socket that may be replaced by another
//	sdnotify.go    the service manager
//	inherited.go   what one image of the program gives the next
//	rundir.go      the directories of socket, locks and attempts
//	access.go      who may do what
//	shim.go        a job's supervisor
//	memory.go      memory given back
//	config.go      what a daemon is made of
//
// # What it promises
//
// A notify is answered only when its journal record is durable. A job's start
// is durable before its child exists, unless on_interrupt = "rerun". Locks are
// kernel locks on files that stay, so what dies frees them. No handler
// recovers: a crash with a clean restart beats a held lock.
package daemon
