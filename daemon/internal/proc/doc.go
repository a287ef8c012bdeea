// Package proc runs a child on this machine: start, output to the job's own
// file, progress, timeout, SIGTERM then SIGKILL, and the end. It is the only
// package that starts or signals jobs.
//
// A Launch is data. Prepare opens what it names, and a Prepared is started or
// discarded. A Child is the state of a started one: what is enforced on it, by
// a state machine without a goroutine, a clock or a wait of its own. It has two
// owners. Process waits for it with goroutines, for a daemon that has many; the
// supervisor of one job (package shim) waits with one poll(2).
//
// What is promised:
//   - The child leads its own session and process group, inherits descriptors 0
//     to 3 only, and finds every signal at its default and none blocked, whatever
//     this process inherited (DefaultSignals, ForkExec).
//   - Nobody waits for the end of its output or progress pipe: a grandchild may
//     hold them. What it said before its end is read, and nothing after.
//   - Its process id stays its own until everything about it is done: it is
//     waited for last, so that no signal of ours can meet another process.
//   - An Identity names a process beyond its end; a bare pid never leaves here.
//
// What a port must provide is the interface platform, in port.go.
package proc
