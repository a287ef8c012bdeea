package proc

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// record makes a struct kinfo_proc of FreeBSD.
func record(pid, parent, group, session int, state byte, start time.Duration) []byte {
	b := make([]byte, kinfoSize)
	binary.NativeEndian.PutUint32(b, kinfoSize)
	for place, n := range map[int]int{kinfoPid: pid, kinfoParent: parent, kinfoGroup: group, kinfoSession: session, kinfoUser: 1001} {
		binary.NativeEndian.PutUint32(b[place:], uint32(n))
	}
	b[kinfoStat] = state
	binary.NativeEndian.PutUint64(b[kinfoStart:], uint64(start/time.Second))
	binary.NativeEndian.PutUint64(b[kinfoStart+8:], uint64(start%time.Second/time.Microsecond))
	return b
}

// A process is the same one after a step of the clock, which moves what the kernel says
// of its start and of the boot alike.
func TestStartOverClockStep(t *testing.T) {
	const boot, up = 1_000 * time.Hour, 90*time.Second + 5*time.Microsecond
	for _, step := range []time.Duration{0, -900 * time.Hour, 5 * 365 * 24 * time.Hour} {
		list, ok := splitKinfo(record(40, 1, 40, 40, 3, boot+step+up))
		if !ok || len(list) != 1 {
			t.Fatal("it is not read")
		}
		want := ProcessInfo{PID: 40, Parent: 1, Group: 40, Session: 40, Start: 90_000_005, State: "S"}
		if got := list[0].info(boot + step); got != want {
			t.Errorf("after a step of %s: %+v", step, got)
		}
	}
	if sinceBoot(0, time.Hour) == 0 {
		t.Error("a start that looks as before the boot reads as no process")
	}
}

// What a release before recorded, by the clock that can be set, is the same process as
// long as that was not set.
func TestOldStart(t *testing.T) {
	const wall, start = uint64(1_790_000_000_000_000), uint64(90_000_005)
	for recorded, want := range map[uint64]bool{start: true, wall: true, wall + 1: false, start + 1: false, 0: false} {
		if got := sameStart(recorded, start, wall); got != want {
			t.Errorf("%d: %t", recorded, got)
		}
	}
}

// A group lives as long as one of it is no zombie, and a structure of another size is
// not understood.
func TestGroupLives(t *testing.T) {
	zombie, sleeper := record(40, 1, 40, 40, statZombie, time.Hour), record(41, 40, 40, 40, 3, time.Hour)
	for _, c := range []struct {
		text   []byte
		ok, up bool
		n      int
	}{
		{nil, true, false, 0},
		{zombie, true, false, 1},
		{slices.Concat(zombie, sleeper), true, true, 2},
		{sleeper[:kinfoSize-1], false, false, 0},
		{slices.Concat(sleeper, zombie[:8]), false, true, 1},
	} {
		list, ok := splitKinfo(c.text)
		if ok != c.ok || groupLives(list) != c.up || len(list) != c.n {
			t.Errorf("%d bytes: %t, %d processes, alive %t", len(c.text), ok, len(list), groupLives(list))
		}
	}
	strange := slices.Clone(sleeper)
	binary.NativeEndian.PutUint32(strange, kinfoSize+8)
	if _, ok := splitKinfo(strange); ok {
		t.Error("a structure of another size is read")
	}
	if k := kinfo(record(1, 0, 1, 1, 77, 0)); k.info(0).State != "?" || k.number(kinfoUser) != 1001 {
		t.Errorf("%+v", k.info(0))
	}
}

// The first group is the one that setgid(2) replaces.
func TestMainFirst(t *testing.T) {
	c := &Credential{GID: 7, Groups: []uint32{20, 30}}
	if got := mainFirst(c); !slices.Equal(got, []uint32{7, 20, 30}) || !slices.Equal(c.Groups, []uint32{20, 30}) {
		t.Errorf("%d, groups %d", got, c.Groups)
	}
}
