package proc

import "golang.org/x/sys/unix"

// The bounds of execve(2): a quarter of the stack, but never less than 32 pages nor
// more than three quarters of 8 MiB.
const (
	leastRoom = 128 << 10
	mostRoom  = 6 << 20
)

// EnvironmentRoom is how many bytes a program's arguments and environment may have.
func EnvironmentRoom() int {
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil {
		return leastRoom
	}
	return int(max(leastRoom, min(stack.Cur/4, mostRoom)))
}
