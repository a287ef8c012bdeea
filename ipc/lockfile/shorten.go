package lockfile

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// maxText is how long the text of a lock file may be: that of a holder is
	// shorter, whatever its command.
	maxText = 4096
	// maxBlocks is what a file may take of the disk, in units of 512 bytes: blocks
	// can be set aside without making it longer.
	maxBlocks = 128
)

// Shorten cuts the lock files of a directory whose content is longer than a
// holder's, and names them. Whoever may lock can write to them; none of it means
// anything, and they lie in a small file system in memory. A lock that is held
// stays held.
func Shorten(dir string) (cut []string) {
	paths, _ := filepath.Glob(filepath.Join(dir, "*.lock"))
	for _, path := range paths {
		var is unix.Stat_t
		if unix.Lstat(path, &is) != nil || is.Mode&unix.S_IFMT != unix.S_IFREG || is.Size <= maxText && is.Blocks <= maxBlocks {
			continue
		}
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), path)
		if shorten(f, is) == nil {
			cut = append(cut, path)
		}
		_ = f.Close()
	}
	return cut
}

// shorten cuts a file. What is set aside beyond its end goes with all of it.
func shorten(f *os.File, is unix.Stat_t) error {
	if is.Size > maxText {
		return f.Truncate(maxText)
	}
	return f.Truncate(0)
}
