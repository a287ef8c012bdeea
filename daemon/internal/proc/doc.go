// Package proc runs child processes: start, output to the job's own file,
// progress, timeout, TERM then KILL, and the end. It is the only package that
// starts or signals processes.
//
// A Launch is data, so that the shim of a later stage can be handed the same
// and do the same in a process of its own. The child leads its own session and
// process group and inherits descriptors 0 to 3 only. Nobody waits for the end
// of its output or progress pipe: a grandchild may hold them.
package proc
