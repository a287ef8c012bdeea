package lockfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// Look names the holder of the lock NAME.lock in dir and reports whether there
// is one. It does not try the lock: during the try a job would find it held.
// Where the kernel does not list locks, the file's text is the only source.
func Look(dir, name string) (Holder, bool) {
	if !ValidName(name) {
		return Holder{}, false
	}
	f, err := os.OpenFile(Path(dir, name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Holder{}, false
	}
	defer func() { _ = f.Close() }()
	h := textHolder(f)
	pid, known := lookInKernel(f)
	if known && pid == 0 {
		return Holder{}, false
	}
	h = mergeHolder(f, h, pid)
	return h, h.PID != 0
}
