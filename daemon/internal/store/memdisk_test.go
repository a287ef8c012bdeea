package store

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// MemDisk is a directory in memory that can lose power.
//
// What it models: a file's synced content is certain. Each write after that is
// on the disk or not by sectors of 512 bytes, in any combination, and what was
// written to a sector may be garbage; what was synced in it before is not. Sizes that were set after the sync
// are there in order, up to some point. Names change in order, up to some
// point, and are certain after a sync of the directory; a file that is created
// but not synced has a name and no content. It does not model a disk that lies
// about a sync; the control does.
type MemDisk struct {
	Mu      sync.Mutex
	Names   map[string]*inode
	safe    map[string]*inode // as of the last sync of the directory
	changes []change          // of names, since then
	Lies    bool              // a sync does nothing: the control
	Full    bool              // no file can grow
	Dead    bool              // the power is off
	Asked   func(op string) error
}

// change is one name that was set or removed.
type change struct {
	name string
	node *inode
}

// inode is a file's content, and how it came to be.
type inode struct {
	Data, Safe []byte
	writes     []write
}

// write is data at an offset, or a new size.
type write struct {
	at   int64
	data []byte
}

func NewMemDisk() *MemDisk {
	return &MemDisk{Names: map[string]*inode{}, safe: map[string]*inode{}, Asked: func(string) error { return nil }}
}

var errDead = errors.New("the power is off")

// do runs a change unless the disk is dead or fails it.
func (d *MemDisk) do(op string, fn func()) error {
	if err := d.Asked(op); err != nil {
		return &os.PathError{Op: op, Path: "journal", Err: err}
	}
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if d.Dead {
		return errDead
	}
	fn()
	return nil
}

// Put makes a file that is on the disk for certain.
func (d *MemDisk) Put(name string, data []byte) {
	n := &inode{Data: slices.Clone(data), Safe: slices.Clone(data)}
	d.Names[name], d.safe[name] = n, n
}

func (d *MemDisk) set(name string, n *inode) {
	if n == nil {
		delete(d.Names, name)
	} else {
		d.Names[name] = n
	}
	d.changes = append(d.changes, change{name, n})
}

func (d *MemDisk) open(name string) (source, error) {
	var n *inode
	err := d.do("open", func() { n = d.Names[name] })
	if err == nil && n == nil {
		err = &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	return &memFile{d: d, n: n}, nil
}

func (d *MemDisk) create(name string) (file, error) {
	n := &inode{}
	err := d.do("create", func() { d.set(name, n) })
	return &memFile{d: d, n: n}, err
}

func (d *MemDisk) rename(from, to string) error {
	return d.do("rename", func() { d.set(to, d.Names[from]); d.set(from, nil) })
}

func (d *MemDisk) remove(name string) error {
	return d.do("remove", func() { d.set(name, nil) })
}

func (d *MemDisk) means(name string, f file) bool {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	return d.Dead || d.Names[name] == f.(*memFile).n
}

func (d *MemDisk) keepDamaged(name string) (string, error) {
	kept := name + ".damaged-" + strconv.Itoa(len(d.Names))
	return kept, d.do("keep", func() { d.set(kept, d.Names[name]) })
}

func (d *MemDisk) sync() error {
	return d.do("syncdir", func() {
		if !d.Lies {
			d.safe, d.changes = cloneNames(d.Names), nil
		}
	})
}

func cloneNames(m map[string]*inode) map[string]*inode {
	c := map[string]*inode{}
	maps.Copy(c, m)
	return c
}

// memFile is an open file.
type memFile struct {
	d  *MemDisk
	n  *inode
	at int64 // where the next write goes
}

func (f *memFile) size() (int64, error) {
	f.d.Mu.Lock()
	defer f.d.Mu.Unlock()
	return int64(len(f.n.Data)), nil
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	n := 0
	err := f.d.do("read", func() {
		if at < int64(len(f.n.Data)) {
			n = copy(b, f.n.Data[at:])
		}
	})
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (f *memFile) Write(b []byte) (int, error) {
	var full error
	err := f.d.do("write", func() {
		if f.d.Full && f.at+int64(len(b)) > int64(len(f.n.Data)) {
			full = syscall.ENOSPC
			return
		}
		f.n.add(write{f.at, slices.Clone(b)})
		f.at += int64(len(b))
	})
	return len(b), errors.Join(err, full)
}

func (f *memFile) allocate(size int64) error {
	var full error
	err := f.d.do("allocate", func() {
		switch {
		case size <= int64(len(f.n.Data)):
		case f.d.Full:
			full = syscall.ENOSPC
		default:
			f.n.add(write{at: size})
		}
	})
	return errors.Join(err, full)
}

func (f *memFile) truncate(size int64) error {
	return f.d.do("truncate", func() { f.n.add(write{at: size}) })
}

func (f *memFile) sync() error {
	return f.d.do("sync", func() {
		if !f.d.Lies {
			f.n.Safe, f.n.writes = slices.Clone(f.n.Data), nil
		}
	})
}

func (f *memFile) Close() error { return nil }

func (n *inode) add(w write) {
	n.writes = append(n.writes, w)
	n.Data = w.apply(n.Data)
}

// apply gives the content after a write.
func (w write) apply(data []byte) []byte {
	end := w.at + int64(len(w.data))
	if grow := end - int64(len(data)); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	if w.data == nil {
		return data[:end]
	}
	copy(data[w.at:], w.data)
	return data
}

// Cut is what is on the disk when the power comes back.
func (d *MemDisk) Cut(r *rand.Rand) *MemDisk {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	after := NewMemDisk()
	after.Lies, after.Full = d.Lies, d.Full
	names := cloneNames(d.safe)
	for _, c := range d.changes[:r.IntN(len(d.changes)+1)] {
		names[c.name] = c.node
	}
	nodes := map[*inode]*inode{} // a file may have two names
	for name, n := range names {
		if n == nil {
			continue
		}
		if nodes[n] == nil {
			data := n.cut(r)
			nodes[n] = &inode{Data: data, Safe: slices.Clone(data)}
		}
		after.Names[name], after.safe[name] = nodes[n], nodes[n]
	}
	return after
}

// sector is what a disk writes at once.
const sector = 512

// cut is a file's content after the power went.
func (n *inode) cut(r *rand.Rand) []byte {
	data := slices.Clone(n.Safe)
	style := r.IntN(4)
	reach := r.IntN(len(n.writes) + 1)
	for i, w := range n.writes {
		switch {
		case style == 0 || (style == 1 && i >= reach): // nothing, or what came first
			continue
		case w.data == nil:
			if style == 1 || i < reach {
				data = w.apply(data)
			}
			continue
		}
		for at := int64(0); at < int64(len(w.data)); {
			next := min(int64(len(w.data)), (w.at+at)/sector*sector+sector-w.at)
			part := write{w.at + at, slices.Clone(w.data[at:next])}
			if style == 3 && r.IntN(8) == 0 {
				part.data[r.IntN(len(part.data))] ^= 1 << r.IntN(8)
			}
			if style == 1 || r.IntN(2) == 0 {
				data = part.apply(data)
			}
			at = next
		}
	}
	return data
}
