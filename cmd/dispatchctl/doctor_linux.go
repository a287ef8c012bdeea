package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// kernel says which features of the kernel there are.
func (d *doctor) kernel() {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err == nil && int64(st.Type) == unix.CGROUP2_SUPER_MAGIC {
		d.ok("cgroup", "the kernel has cgroup v2")
	} else {
		d.note("no_cgroup", "", "there is no cgroup v2 at /sys/fs/cgroup: whole process trees are ended by other means")
	}
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		_ = unix.Close(fd)
		d.ok("pidfd", "the kernel has pidfd")
	} else {
		d.note("no_pidfd", "", "the kernel has no pidfd: %v", err)
	}
	var tx unix.Timex
	if _, err := unix.Adjtimex(&tx); err == nil && tx.Status&unix.STA_UNSYNC != 0 {
		d.note("clock_unsynced", "start an NTP client if this machine has none", "nothing keeps the clock right, as far as the kernel knows")
	}
}
