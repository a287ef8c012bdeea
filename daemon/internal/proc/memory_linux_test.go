package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A mapping is given back when it is private, of a file, cannot be written, is
// present, and has no page of our own.
func TestFileBacked(t *testing.T) {
	const smaps = `00400000-00aed000 r-xp 00000000 fe:00 8 /usr/sbin/dispatchd
Size:               7092 kB
Rss:                4568 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00aed000-01300000 r--p 006ed000 fe:00 8 /usr/sbin/dispatchd (deleted)
Rss:                4028 kB
Anonymous:             0 kB
01300000-01350000 rw-p 00f00000 fe:00 8 /usr/sbin/dispatchd
Rss:                 312 kB
Anonymous:             0 kB
02000000-02010000 r--p 00000000 fe:00 9 /lib/relocated.so
Rss:                  64 kB
Anonymous:             8 kB
03000000-03010000 r--s 00000000 fe:00 9 /var/shared
Rss:                  64 kB
Anonymous:             0 kB
04000000-04010000 r--p 00000000 fe:00 9 /lib/untouched.so
Rss:                   0 kB
Anonymous:             0 kB
7ffe01000000-7ffe01002000 r-xp 00000000 00:00 0 [vdso]
Rss:                   8 kB
Anonymous:             0 kB
7ffe02000000-7ffe02002000 r--p 00000000 00:00 0
Rss:                   8 kB
Anonymous:             0 kB
`
	got, err := fileBacked(strings.NewReader(smaps), math.MaxUint64)
	if want := []span{{0x400000, 0xaed000}, {0xaed000, 0x1300000}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("it gives back %x, %v; want %x", got, err, want)
	}
	if _, err := fileBacked(strings.NewReader("nonsense r-xp 0 0 0 /x\n"), math.MaxUint64); err == nil {
		t.Error("a range that is none is no error")
	}
	// What qemu-arm passes on of its host: nothing of it is this program's.
	if _, err := fileBacked(strings.NewReader(smaps), math.MaxUint32); !errors.Is(err, errOtherSpace) {
		t.Errorf("another address space: %v, want %v", err, errOtherSpace)
	}
}

// What is mapped of a file is gone from the process afterwards and comes back
// when it is read; what the process itself wrote into such a mapping stays.
func TestReturnProgram(t *testing.T) {
	clean, written := mapFile(t, unix.PROT_READ), mapFile(t, unix.PROT_READ|unix.PROT_WRITE)
	written[0] = 'w'
	if err := unix.Mprotect(written, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(clean[1:], written[1:]) || resident(t, clean) == 0 {
		t.Fatal("the mappings are not in memory, or differ")
	}
	if err := ReturnProgram(); err != nil {
		t.Fatal(err)
	}
	if kib := resident(t, clean); kib != 0 {
		t.Errorf("%d KiB of the file are still there", kib)
	}
	if written[0] != 'w' {
		t.Error("what was written is lost")
	}
	if !bytes.Equal(clean[1:], written[1:]) {
		t.Error("the file does not come back as it is")
	}
}

// mapFile maps a file of 64 pages.
func mapFile(t *testing.T, prot int) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, bytes.Repeat([]byte("page"), 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	m, err := unix.Mmap(int(f.Fd()), 0, 256<<10, prot, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	return m
}

// resident is how much of a mapping is in memory, in KiB.
func resident(t *testing.T, m []byte) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), fmt.Sprintf("%08x-", uintptr(unsafe.Pointer(&m[0]))))
	_, rest, rss := strings.Cut(rest, "Rss:")
	if !found || !rss {
		t.Fatal("the mapping is not in smaps")
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
