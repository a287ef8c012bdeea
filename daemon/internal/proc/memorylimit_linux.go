package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// noLimit is more than any machine has. Version 1 writes a page below the largest
// number where there is no limit.
const noLimit = 1 << 62

// MemoryLimit is how much memory the control groups of this process let it have
// (memory.max of version 2, memory.limit_in_bytes of version 1), 0 = no limit.
func MemoryLimit() int64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(noLimit)
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		switch controllers {
		case "":
			least = min(least, limitAbove("/sys/fs/cgroup", path, "memory.max"))
		case "memory":
			least = min(least, limitAbove("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"))
		}
	}
	if least >= noLimit {
		return 0
	}
	return least
}

// limitAbove is the least limit of a group and those above it.
func limitAbove(mount, path, file string) int64 {
	least := int64(noLimit)
	for {
		text, err := os.ReadFile(filepath.Join(mount, path, file))
		if n, nerr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && nerr == nil {
			least = min(least, n)
		}
		if path == "/" || path == "." || path == "" {
			return least
		}
		path = filepath.Dir(path)
	}
}
