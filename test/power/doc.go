// Package power takes away from a real daemon what it stands on: the power, the
// disk's space, its calls, and the bytes of its journal.
//
// Lost power. The state directory is an ext4 file system on a disk of our own:
// a file that the test itself serves (FUSE), which notes each write and each
// flush. A daemon runs there under load, is killed and restarted; callers note
// how many writes the disk had seen when they were answered. Then the power is
// cut, at any place in that record: what was flushed before is on the disk, and
// of what was written since any part is, by sectors of 512 bytes. The file
// system is mounted as it is found, a daemon started on it, and held against
// what callers had been told by then. What this does not model: a disk that
// lies about a flush (the control does just that, and must fail), that damages
// what it had flushed before, or that tears a sector.
//
// Failing calls. strace fails the daemon's calls on its state directory, each
// kind with each error, the Nth one or all from then on. It must answer with a
// typed error or truthfully, live, and recover when the fault ends.
//
// A full disk, for ten seconds under load; a slow one; and damaged journals,
// with a real daemon started on each.
//
// The long form is for a machine of its own, and wants root:
//
//	go test -tags power -timeout 0 -v ./test/power -cuts=600 -points=400
package power
