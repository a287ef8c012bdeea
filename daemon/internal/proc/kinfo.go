package proc

import (
	"encoding/binary"
	"time"
)

// Places in struct kinfo_proc of 64-bit FreeBSD (sys/user.h). It is read here, and
// asked for in sysctl_freebsd.go: so tests read it on any system.
const (
	kinfoSize    = 1088
	kinfoPid     = 72
	kinfoParent  = 76
	kinfoGroup   = 80
	kinfoSession = 88
	kinfoUser    = 168
	kinfoStart   = 336 // struct timeval
	kinfoStat    = 388 // char
)

// States of a process (sys/proc.h).
const (
	statZombie = 5
	statLetter = " IRSTZWL" // as ps(1) has them, from SIDL = 1 on
)

// kinfo is one struct kinfo_proc.
type kinfo []byte

func (k kinfo) number(place int) int { return int(int32(binary.NativeEndian.Uint32(k[place:]))) }
func (k kinfo) isZombie() bool       { return k[kinfoStat] == statZombie }

// start is when the process started, by the clock that can be set: the kernel adds
// the time of the boot to what it noted, anew at each question (fill_kinfo_proc).
func (k kinfo) start() time.Duration {
	return time.Duration(timeval(k[kinfoStart:])) * time.Microsecond
}

// info is what the process is, boot being the time of the boot by the same clock.
func (k kinfo) info(boot time.Duration) ProcessInfo {
	p := ProcessInfo{
		PID: k.number(kinfoPid), Parent: k.number(kinfoParent), Group: k.number(kinfoGroup), Session: k.number(kinfoSession),
		Start: sinceBoot(k.start(), boot), State: "?",
	}
	if s := int(k[kinfoStat]); s > 0 && s < len(statLetter) {
		p.State = statLetter[s : s+1]
	}
	return p
}

// sinceBoot is a process's start in microseconds since the boot, which a step of the
// clock does not change: it moves both times alike.
func sinceBoot(start, boot time.Duration) uint64 {
	return uint64(max(1, (start - boot).Microseconds())) // 0 = no such process
}

// wallClock is where the start times of releases before begin: they were by the clock
// that can be set, in microseconds. No machine is up for that long.
const wallClock = uint64(1e15)

// sameStart reports whether a start time that was recorded is a process's, which has
// started then and, by the clock that can be set, at wall.
func sameStart(recorded, start, wall uint64) bool {
	return recorded == start || recorded >= wallClock && recorded == wall
}

// timeval reads a struct timeval, in microseconds.
func timeval(b []byte) int64 {
	return int64(binary.NativeEndian.Uint64(b))*1e6 + int64(binary.NativeEndian.Uint64(b[8:]))
}

// splitKinfo splits what sysctl(3) gave. False: the kernel's structure has another
// size, and is not understood.
func splitKinfo(b []byte) (list []kinfo, ok bool) {
	for ; len(b) >= kinfoSize; b = b[kinfoSize:] {
		if binary.NativeEndian.Uint32(b) != kinfoSize {
			return nil, false
		}
		list = append(list, kinfo(b[:kinfoSize]))
	}
	return list, len(b) == 0
}

// groupLives reports whether a list of a group's processes has one that is no zombie.
// The dead leader of a group, which is waited for last, does not count: it would make
// every stop take its whole grace.
func groupLives(list []kinfo) bool {
	for _, k := range list {
		if !k.isZombie() {
			return true
		}
	}
	return false
}

// mainFirst are a credential's groups with its main one first: setgroups(2) of FreeBSD
// up to 14 takes the first for the effective group, which setgid(2) then replaces. So
// the first of the user's groups would be lost. Later kernels take one twice.
func mainFirst(c *Credential) []uint32 { return append([]uint32{c.GID}, c.Groups...) }
