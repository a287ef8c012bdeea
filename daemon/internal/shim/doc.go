// Package shim is the supervisor of a job: a small process by which the job
// outlives its daemon, and the daemon's side of it. Main is the supervisor's whole
// life, cmd/dispatchd-shim its program; Start, Adopt and Client are the daemon's.
//
// # What makes it safe
//
// The supervisor is born with the job's locks (flock(2) on descriptors from 5 on)
// and gives them to nobody: as long as it lives, no other job can have them. It
// creates .run exclusively before it starts the job, so an attempt is started
// once, by whoever comes first. It starts the job from its first thread with
// PR_SET_PDEATHSIG, so that the job dies with it (without that 3 to 36 overlaps
// were seen when supervisors were killed, FACTS "Processes"). It writes .status
// into space that it reserved before, and renames it into place, before it lets go
// of the locks. So a daemon that comes later reads: .status, ended so; .run without
// it, the end is not known; neither, never started.
//
// # How it is spoken to
//
// The daemon binds ID-N.sock beside the attempt's other files, and the supervisor
// is born with the listener as descriptor 4: connecting works from the first
// moment, and the end of the file is the supervisor's end, however it came.
// Requests and replies are lines of JSON (protocol.go). An unknown verb is an error
// reply, never an end. Whoever does not read does not hold the job up.
//
// While the next job of its dispatcher is queued, a supervisor whose job has ended
// serves that one too (verb next): it gets the descriptors that it would be born
// with over the socket (SCM_RIGHTS), and a row of short jobs pays for one process.
//
// A supervisor outlives its daemon, and after an upgrade its program file may be
// newer than the daemon: each side speaks its own version and the one before.
// legacy.go has version 1, and goes one release later.
//
// # Who owns what
//
// The supervisor has one thread of its own, which waits with poll(2) for all that
// can happen; everything of it belongs to that thread. A Client belongs to the
// goroutine that reads its socket, and its methods may be called by any.
package shim
