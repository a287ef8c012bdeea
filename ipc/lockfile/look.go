package lockfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// Look says who holds the lock NAME.lock in dir, and whether anybody does as
// far as it can be told, without touching the lock: trying it would make
// others find it held. Where the kernel does not tell, the file's text has to
// do.
func Look(dir, name string) (Holder, bool) {
	if !ValidName(name) {
		return Holder{}, false
	}
	f, err := os.OpenFile(Path(dir, name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Holder{}, false
	}
	defer func() { _ = f.Close() }()
	h := described(f)
	pid, told := kernelTells(f)
	if told && pid == 0 {
		return Holder{}, false
	}
	h = settle(f, h, pid)
	return h, h.PID != 0
}
