//go:build !linux

package proc

// MemoryLimit knows of no limit on this system: its limits are not of a kind that
// the runtime could keep within.
func MemoryLimit() int64 { return 0 }
