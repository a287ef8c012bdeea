package store

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// The journal is a file that everybody finds by its name. One that was removed, or
// replaced by another, would take records until the daemon ends and then be gone
// with all of them. So the writer looks before each batch, and at the end, whether
// the name still means its file (two calls of stat(2), 2 µs), and if not puts its
// content there again before anything else is written.

// means reports whether a path leads to an open file.
func means(path string, f interface{ Stat() (fs.FileInfo, error) }) bool {
	named, err := os.Lstat(path)
	if err != nil {
		return false
	}
	ours, err := f.Stat()
	return err == nil && os.SameFile(named, ours)
}

// means reports whether a name of the directory leads to an open file.
func (d osDisk) means(name string, f file) bool {
	ours, ok := f.(diskFile)
	return ok && means(d.at(name), ours)
}

// keepNamed has the journal's name mean its file. The error says that this cannot be
// had: nothing may be written then.
func (w *writer) keepNamed() error {
	if w.file == nil || w.disk.means("journal", w.file) {
		return nil
	}
	var aside string
	err := w.guard() // else what is there may be another daemon's
	if err == nil {
		aside, _ = w.disk.keepDamaged("journal") // what is there in its place, if anything
		err = w.reinstate()
	}
	if err != nil {
		err = fmt.Errorf("its file was removed or replaced, and cannot be made again: %w", err)
	}
	w.health.tellReinstated(aside, err)
	return err
}

// reinstate copies the file, which has no name any more, to a new one.
func (w *writer) reinstate() error {
	f, size, err := w.newFile(w.opened, func(f file) (int64, error) {
		_, err := io.Copy(f, io.NewSectionReader(w.file, 0, w.size))
		return w.size, err
	})
	if err != nil {
		return err
	}
	if err := w.adopt(f, size); err != nil {
		return err
	}
	if w.readID() != w.id {
		_ = w.writeID() // the next start asks for it; the journal says it too
	}
	w.completeSynced(nil) // they are in the copy
	return nil
}
