package proc

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Places in struct kinfo_proc of 64-bit FreeBSD (sys/user.h).
const (
	kinfoSize  = 1088
	kinfoPid   = 72
	kinfoStart = 336 // struct timeval
	kinfoStat  = 388 // char
	statZombie = 5
)

// kinfo is one struct kinfo_proc.
type kinfo []byte

func (k kinfo) pid() int       { return int(binary.NativeEndian.Uint32(k[kinfoPid:])) }
func (k kinfo) isZombie() bool { return k[kinfoStat] == statZombie }

// processes asks sysctl kern.proc.WHICH (KERN_PROC_PID, _PGRP, _SESSION of
// sysctl(3)) for processes. A kernel whose structure has another size is not
// understood, and gives none.
func processes(which string, id int) (list []kinfo, ok bool) {
	b, err := unix.SysctlRaw("kern.proc."+which, id)
	if err != nil {
		return nil, false
	}
	for ; len(b) >= kinfoSize; b = b[kinfoSize:] {
		if binary.NativeEndian.Uint32(b) != kinfoSize {
			return nil, false
		}
		list = append(list, kinfo(b[:kinfoSize]))
	}
	return list, true
}

// startTime is in microseconds of the clock that can be set.
func (host) startTime(pid int) uint64 {
	list, _ := processes("pid", pid)
	if len(list) != 1 || list[0].pid() != pid || list[0].isZombie() {
		return 0
	}
	k := list[0]
	return binary.NativeEndian.Uint64(k[kinfoStart:])*1e6 + binary.NativeEndian.Uint64(k[kinfoStart+8:])
}

// groupAlive does not count zombies: the dead leader of a group, which is waited
// for last, would make every stop take its whole grace.
func (host) groupAlive(pgid int) bool {
	list, ok := processes("pgrp", pgid)
	if !ok {
		return unix.Kill(-pgid, 0) == nil
	}
	for _, k := range list {
		if !k.isZombie() {
			return true
		}
	}
	return false
}

// killSid relies on a session's number not being given to a new process while
// any member lives, as on Linux (pidhash and the session's hash are looked at by
// fork_findpid).
func (h host) killSid(leader Identity) {
	if now := h.startTime(leader.PID); now != 0 && now != leader.Start {
		return
	}
	list, _ := processes("sid", leader.PID)
	for _, k := range list {
		if pid := k.pid(); pid > 1 && pid != os.Getpid() && !k.isZombie() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
