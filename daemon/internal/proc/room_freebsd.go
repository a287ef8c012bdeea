package proc

import "golang.org/x/sys/unix"

// EnvironmentRoom is how many bytes a program's arguments and environment may have
// (ARG_MAX, sysctl kern.argmax).
func EnvironmentRoom() int {
	n, err := unix.SysctlUint32("kern.argmax")
	if err != nil {
		return 256 << 10
	}
	return int(n)
}
