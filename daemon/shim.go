package daemon

import (
	"os"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
)

// RunShim is the whole life of a job's shim, the small supervisor process by
// which a job outlives its daemon. A program that embeds the daemon calls it
// when it is started by what it gave as Config.Shim, before anything else, and
// exits with its result.
func RunShim() int {
	return proc.RunShim(func(path string, size, keep int64) {
		if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
			_ = store.Trim(f, size, keep)
			_ = f.Close()
		}
	})
}
