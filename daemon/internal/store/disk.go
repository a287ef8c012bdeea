package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// disk is the directory that the journal lives in. Tests put one there that
// fails, or that loses what was not synced.
type disk interface {
	open(name string) (source, error)
	create(name string) (file, error) // always a new file, never one that was there
	rename(from, to string) error
	remove(name string) error
	means(name string, f file) bool          // whether the name still leads to an open file
	keepDamaged(name string) (string, error) // a further name for a damaged file
	sync() error                             // makes what was created and renamed durable
}

// source is a file that is read.
type source interface {
	io.ReaderAt
	io.Closer
	size() (int64, error)
}

// file is a file that is written.
type file interface {
	io.WriteCloser
	io.ReaderAt
	sync() error
	allocate(size int64) error
	truncate(size int64) error
}

// osDisk is a real directory.
type osDisk struct{ path string }

// diskFile is a real file.
type diskFile struct{ *os.File }

func (d osDisk) at(name string) string { return filepath.Join(d.path, name) }

func (d osDisk) open(name string) (source, error) {
	f, err := os.Open(d.at(name))
	return diskFile{f}, err
}

func (d osDisk) create(name string) (file, error) {
	if err := d.remove(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.at(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) { // somebody has removed the directory
		if err := makeDir(d.path, 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(d.at(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	}
	return diskFile{f}, err
}

func (d osDisk) rename(from, to string) error { return os.Rename(d.at(from), d.at(to)) }

func (d osDisk) remove(name string) error {
	if err := os.Remove(d.at(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// keepDamaged gives a file a second name. A link needs no space, so it works on a
// full disk too; where there are no links the file is copied. A file that was
// kept before keeps the name it got then.
func (d osDisk) keepDamaged(name string) (string, error) {
	from := d.at(name)
	fi, err := os.Stat(from)
	if err != nil {
		return "", err
	}
	older, _ := filepath.Glob(from + ".damaged-*")
	for _, path := range older {
		if was, err := os.Stat(path); err == nil && os.SameFile(was, fi) {
			return path, nil
		}
	}
	to := from + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000")
	if os.Link(from, to) == nil {
		return to, nil
	}
	return to, d.copy(name, to)
}

// copy copies a file, as far as it can be read.
func (d osDisk) copy(name, to string) error {
	from, err := d.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	size, err := from.size()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, &pagedReader{r: from, size: size})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

func (d osDisk) sync() error { return syncDir(d.path) }

func (f diskFile) truncate(size int64) error { return f.Truncate(size) }

func (f diskFile) size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// syncDir makes what was created and renamed in a directory durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeDir makes a directory and those above it, durably: a journal that is
// synced is worth nothing in a directory that is not.
func makeDir(path string, mode os.FileMode) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeDir(above, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := syncDir(above); err != nil {
		_ = os.Remove(path) // the next start makes and syncs it again
		return fmt.Errorf("sync %s: %w", above, err)
	}
	return nil
}
