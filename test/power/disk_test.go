//go:build linux && power

package power

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a file that this process serves, by the FUSE protocol, to be a loop
// device's: it knows every write and every flush in their order.
type disk struct {
	path string // the file
	fd   int    // of /dev/fuse
	end  chan struct{}

	mu      sync.Mutex
	content []byte
	record  []entry
	delay   time.Duration // of each flush
	stalled chan struct{} // a flush waits until it is closed, nil = none does
}

// entry is one write, or a flush of all before it.
type entry struct {
	at   int64
	data []byte // nil = a flush
}

// newDisk serves content as a file below dir.
func newDisk(t *testing.T, dir string, content []byte) *disk {
	t.Helper()
	d := &disk{path: filepath.Join(dir, "disk"), content: content, end: make(chan struct{})}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("a disk of our own needs FUSE: %v", err)
	}
	d.fd = fd
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	how := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0", fd, unix.S_IFREG|0o600)
	if err := unix.Mount("power", d.path, "fuse.power", 0, how); err != nil {
		_ = unix.Close(fd)
		t.Skipf("a disk of our own needs FUSE and root: %v", err)
	}
	go d.serve()
	t.Cleanup(func() {
		_ = unix.Unmount(d.path, unix.MNT_DETACH)
		<-d.end
		_ = unix.Close(d.fd)
	})
	return d
}

// slow makes each flush take this long.
func (d *disk) slow(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// stall lets no flush end until the function that it gives is called.
func (d *disk) stall() (release func()) {
	gate := make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stalled = gate
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stalled = nil
		close(gate)
	}
}

// position is how many writes and flushes there have been.
func (d *disk) position() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.record)
}

// flushes is how many flushes there have been.
func (d *disk) flushes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, e := range d.record {
		if e.data == nil {
			n++
		}
	}
	return n
}

// The operations and the parts of the protocol that a file of fixed size needs.
const (
	opForget      = 2
	opGetattr     = 3
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opRelease     = 18
	opFsync       = 20
	opFlush       = 25
	opInit        = 26
	opInterrupt   = 36
	opDestroy     = 38
	opBatchForget = 42

	headIn, headOut = 40, 16
	maxWrite        = 128 << 10
	bigWrites       = 1 << 5
)

// serve answers the kernel until the file is unmounted.
func (d *disk) serve() {
	defer close(d.end)
	buf := make([]byte, maxWrite+4096)
	for {
		n, err := unix.Read(d.fd, buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < headIn {
			return
		}
		op, id := binary.LittleEndian.Uint32(buf[4:]), binary.LittleEndian.Uint64(buf[8:])
		if op == opForget || op == opBatchForget || op == opInterrupt {
			continue
		}
		if op == opFsync {
			d.mu.Lock()
			delay, stalled := d.delay, d.stalled
			d.mu.Unlock()
			<-time.After(delay)
			if stalled != nil {
				<-stalled
			}
		}
		out, errno := d.answer(op, buf[headIn:n])
		head := binary.LittleEndian.AppendUint32(nil, uint32(headOut+len(out)))
		head = binary.LittleEndian.AppendUint32(head, uint32(-int32(errno)))
		head = binary.LittleEndian.AppendUint64(head, id)
		if _, err := unix.Write(d.fd, append(head, out...)); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

// answer does one operation.
func (d *disk) answer(op uint32, in []byte) ([]byte, unix.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	le := binary.LittleEndian
	switch op {
	case opInit:
		return hello(), 0
	case opGetattr:
		return append(make([]byte, 16), d.attributes()...), 0
	case opOpen:
		return make([]byte, 16), 0
	case opRead:
		at, size := int64(le.Uint64(in[8:])), int64(le.Uint32(in[16:]))
		length := int64(len(d.content))
		return bytes.Clone(d.content[min(at, length):min(at+size, length)]), 0
	case opWrite:
		at, size := int64(le.Uint64(in[8:])), int64(le.Uint32(in[16:]))
		data := bytes.Clone(in[40 : 40+size])
		if at+size > int64(len(d.content)) {
			return nil, unix.ENOSPC
		}
		copy(d.content[at:], data)
		d.record = append(d.record, entry{at, data})
		return le.AppendUint64(nil, uint64(size)), 0
	case opFsync:
		d.record = append(d.record, entry{})
		return nil, 0
	case opFlush, opRelease, opDestroy:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

// hello agrees on the protocol: version 7.31, write requests of many pages, and
// no cache that would keep writes from us.
func hello() []byte {
	out := make([]byte, 64)
	le := binary.LittleEndian
	le.PutUint32(out[0:], 7)
	le.PutUint32(out[4:], 31)
	le.PutUint32(out[8:], maxWrite) // read ahead
	le.PutUint32(out[12:], bigWrites)
	le.PutUint16(out[16:], 16) // requests in the background
	le.PutUint16(out[18:], 12)
	le.PutUint32(out[20:], maxWrite)
	le.PutUint32(out[24:], 1) // times in nanoseconds
	return out
}

// attributes are the file's.
func (d *disk) attributes() []byte {
	out := make([]byte, 88)
	le := binary.LittleEndian
	le.PutUint64(out[0:], 1) // inode
	le.PutUint64(out[8:], uint64(len(d.content)))
	le.PutUint64(out[16:], uint64(len(d.content)/512))
	le.PutUint32(out[60:], unix.S_IFREG|0o600)
	le.PutUint32(out[64:], 1) // links
	le.PutUint32(out[80:], 4096)
	return out
}

// sector is what a disk writes at once.
const sector = 512

// cut is one power cut: which part of the record there had been, and which part
// of what was not flushed got to the disk.
type cut struct {
	at   int
	mode int
}

// The modes of a cut.
const (
	nothing = iota // of what was not flushed
	first          // what was written first, the last of it in part
	some           // any of it, by sectors
	modes
)

// apply gives the disk's content after a cut, from what it was at the beginning.
func (c cut) apply(base []byte, record []entry, rng *rand.Rand) []byte {
	after := slices.Clone(base)
	flushed := 0
	for i, e := range record[:c.at] {
		if e.data == nil {
			flushed = i
		}
	}
	for _, e := range record[:flushed] {
		copy(after[e.at:], e.data)
	}
	loose := record[flushed:c.at]
	if c.mode == first && len(loose) > 0 {
		loose = loose[:1+rng.IntN(len(loose))]
	}
	for i, e := range loose {
		for from := 0; from < len(e.data); from += sector {
			part := e.data[from:min(from+sector, len(e.data))]
			torn := c.mode == first && i == len(loose)-1 && from > 0
			if c.mode == nothing || (torn || c.mode == some) && rng.IntN(2) == 0 {
				continue
			}
			copy(after[e.at+int64(from):], part)
		}
	}
	return after
}
