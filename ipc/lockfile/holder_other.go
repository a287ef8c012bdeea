//go:build !linux

package lockfile

import "os"

// kernelHolder finds nobody: this system has no list of locks that we read. The
// file's text is the only source.
func kernelHolder(*os.File) int { return 0 }

// hasLock cannot see another process's descriptors on this system.
func hasLock(int, *os.File) (has, seen bool) { return false, false }

// orphanHolder finds nobody: this system has no list of locks that we read.
func orphanHolder(string, bool) int { return 0 }
