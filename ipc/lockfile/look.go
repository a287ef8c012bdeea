package lockfile

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"

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
	f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Holder{}, false
	}
	defer func() { _ = f.Close() }()
	var h Holder
	text, _ := io.ReadAll(io.LimitReader(f, 4096))
	_ = json.Unmarshal(text, &h)
	pid, told := kernelTells(f)
	switch {
	case told && pid == 0:
		return Holder{}, false
	case told && pid != h.PID && !holds(h.PID, f):
		return Holder{PID: pid}, true
	}
	return h, h.PID != 0
}
