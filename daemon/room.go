package daemon

import (
	"fmt"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc/lockfile"
)

// What a full disk does to a job, it does to the operation: a script that prints
// stops at its first line, an arguments file cannot be made. So below a reserve
// nothing is started at all. Accepted jobs wait, and start by themselves when there
// is room again; the queue asks once a second while one waits.

// leastInodes are how many files a start must be able to make, with room for the
// daemon's own.
const leastInodes = 16

// smallPart is the part of a small file system that is kept free at most.
const smallPart = 20

// place is a directory whose file system must have room for a start.
type place struct {
	dir, key string
	keep     int64 // bytes
	more     int64 // bytes that this start needs beside that
}

// places are those that a start with arguments of a length needs; spec nil = any.
func (h *host) places(spec *dispatchers.Spec, arguments int) []place {
	p := h.cfg.Paths
	list := []place{
		{p.State, "keep_free_state", h.settings.KeepFreeState, 0},
		{p.Run, "keep_free_run", h.settings.KeepFreeRun, int64(arguments)},
	}
	if spec != nil && spec.Cache != nil {
		list = append(list, place{p.Cache, "keep_free_state", h.settings.KeepFreeState, 0})
	}
	return list
}

// lack says which disk has too little room for a start, "" = none. One that cannot
// be asked is none: the start itself shows what is wrong with it.
func (h *host) lack(spec *dispatchers.Spec, arguments int) string {
	for _, at := range h.places(spec, arguments) {
		if at.keep == 0 {
			continue
		}
		room, err := h.cfg.room(at.dir)
		if err != nil {
			continue
		}
		if why := at.lacks(room); why != "" {
			return why
		}
	}
	return ""
}

// lacks says what is missing at a place, "" = nothing.
func (at place) lacks(room store.Room) string {
	keep := min(at.keep, room.Size/smallPart)
	switch {
	case room.Inodes >= 0 && room.Inodes < leastInodes:
		return fmt.Sprintf("the disk of %s has inodes for %d more files", at.dir, room.Inodes)
	case room.Bytes < keep+at.more && at.more > 0:
		return fmt.Sprintf("the disk of %s has %d KiB of room, and %d KiB (%s) and %d bytes of arguments are needed to start it", at.dir, room.Bytes>>10, keep>>10, at.key, at.more)
	case room.Bytes < keep:
		return fmt.Sprintf("the disk of %s has %d KiB of room, and %d KiB are kept free (%s)", at.dir, room.Bytes>>10, keep>>10, at.key)
	}
	return ""
}

// shortenLocks cuts lock files that somebody filled, and reports whether there were
// any.
func (h *host) shortenLocks() bool {
	cut := append(lockfile.Shorten(h.cfg.Paths.Locks()), lockfile.Shorten(h.cfg.Paths.DispatcherLocks())...)
	for _, path := range cut {
		h.log.Warn("a lock file was cut: somebody wrote more into it than who holds it", "file", path)
	}
	return len(cut) > 0
}

// hasRoom reports whether a job may start, and logs when that becomes another.
func (s *state) hasRoom(spec *dispatchers.Spec, arguments int) bool {
	why := s.lack(spec, arguments)
	if why != "" && s.shortenLocks() {
		why = s.lack(spec, arguments)
	}
	switch {
	case why != "" && s.lacking == "":
		s.log.Error("no job is started until there is room", "reason", why)
	case why == "" && s.lacking != "":
		s.log.Info("there is room again; jobs are started again")
	}
	s.lacking = why
	return why == ""
}
