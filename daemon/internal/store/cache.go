package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"dispatchd/ipc"
	"dispatchd/ipc/jsontext"
)

// Caches is the directory of the cache files. A file of it is whole at any
// instant: it is written beside its place, synced, and renamed over it.
type Caches struct {
	dir  string
	mu   sync.Mutex
	tags map[string]tag // by path
}

// tag is what is known of a file's content while it is the same file.
type tag struct {
	file os.FileInfo
	etag string
	data []byte // all of it where it is short, nil = it is not
}

// inMemory is up to which length a cache's data is kept in memory as well.
const inMemory = 64 << 10

// of reports whether a tag is of this file.
func (t tag) of(fi os.FileInfo) bool {
	return t.file != nil && os.SameFile(t.file, fi) && t.file.ModTime().Equal(fi.ModTime()) && t.file.Size() == fi.Size()
}

// Cached is what a cache file holds.
type Cached struct {
	io.ReadCloser
	Size int64
	At   time.Time // when it got its place
	ETag string    // quoted, strong: the same content has the same
}

// NewCaches makes the directory, and removes what refreshes left there that
// nobody waits for any more: keep has the attempts that go on.
func NewCaches(dir string, keep func(attempt string) bool) (*Caches, error) {
	c := &Caches{dir: dir, tags: map[string]tag{}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*.part"))
	if err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	for _, path := range left {
		attempt := strings.TrimSuffix(filepath.Base(path), ".part")
		if !keep(attempt[strings.LastIndex(attempt, ".")+1:]) {
			_ = os.Remove(path)
		}
	}
	return c, nil
}

// Keep makes the directory where it is missing, and reports whether it was.
func (c *Caches) Keep() (again bool, err error) {
	if _, err := os.Lstat(c.dir); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, os.MkdirAll(c.dir, 0o755)
}

// Path is a cache's file.
func (c *Caches) Path(name, format string) string {
	if format == "text" {
		return filepath.Join(c.dir, name+".txt")
	}
	return filepath.Join(c.dir, name+".json")
}

// Part is where an attempt to refresh a cache writes to.
func (c *Caches) Part(name, attempt string) string {
	return filepath.Join(c.dir, "."+name+"."+attempt+".part")
}

// Data says what a cache's file holds, and for whom.
type Data struct {
	Name, Format string
	MaxSize      int64
	Access
}

// Access says who may read a cache's file beside the daemon.
type Access struct {
	Mode os.FileMode
	GID  int // its group, -1 = the daemon's own
}

// near is how far the time of a file may lie ahead before it counts as one that a
// wrong clock has left: file systems round.
const near = time.Second

// FromFuture reports whether data was put in place by a clock that was ahead of
// what it says now. How old such data is, nobody knows.
func FromFuture(at, now time.Time) bool { return at.Sub(now) > near }

// Replace puts what an attempt has written in a cache's place, if it is data of
// that format and not too long. Else an *ipc.Error says what is wrong with it, and
// the last good file stays. A part that is not there has its place already when the
// file is younger than the attempt.
func (c *Caches) Replace(d Data, part string, began time.Time) error {
	path := c.Path(d.Name, d.Format)
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if fi, serr := os.Stat(path); serr == nil && !fi.ModTime().Before(began) && !FromFuture(fi.ModTime(), time.Now()) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("cache file: %w", err)
	}
	defer func() { _ = f.Close(); _ = os.Remove(part) }()
	if err := valid(f, d); err != nil {
		return err
	}
	// Its age counts from here, and a plain reader's stat says so too.
	now := time.Now()
	err = errors.Join(d.grant(f), os.Chtimes(part, now, now))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err == nil {
		err = osDisk{c.dir}.sync()
	}
	if err != nil {
		return fmt.Errorf("cache file: %w", err)
	}
	return nil
}

// grant gives a file its group and mode, as far as they are others. The group comes
// first: no other group may read the file in between.
func (a Access) grant(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && a.GID >= 0 && int(st.Gid) != a.GID {
		if err := errors.Join(f.Chmod(fi.Mode().Perm()&0o600), f.Chown(-1, a.GID)); err != nil {
			return fmt.Errorf("give it to group %d: %w", a.GID, err)
		}
	} else if fi.Mode().Perm() == a.Mode {
		return nil
	}
	return f.Chmod(a.Mode)
}

// Protect gives the file of a cache the access that it is to have. A version before
// left files that everybody may read, and a key may have changed.
func (c *Caches) Protect(d Data) error {
	f, err := os.OpenFile(c.Path(d.Name, d.Format), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(d.grant(f), f.Close())
	}
	if err != nil {
		return fmt.Errorf("cache file of %s: %w", d.Name, err)
	}
	return nil
}

// depth bounds how deep data may be nested: PHP's json_decode reads 512 levels.
const depth = 512

// valid judges what a refresh has written: other programs will read it, which refuse
// what encoding/json lets pass.
func valid(f *os.File, d Data) error {
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cache file: %w", err)
	}
	switch {
	case fi.Size() > d.MaxSize:
		return ipc.Errorf(ipc.KindCacheInvalid, "the output is longer than max_size, which is %d bytes", d.MaxSize)
	case fi.Size() == 0:
		return ipc.Errorf(ipc.KindCacheInvalid, "the output is empty")
	case d.Format == "text":
		return validText(f)
	}
	text := make([]byte, fi.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return fmt.Errorf("cache file: %w", err)
	}
	if err := jsontext.Check(text, depth); err != nil {
		return ipc.Errorf(ipc.KindCacheInvalid, "the output %v", err)
	}
	return nil
}

// validText wants UTF-8.
func validText(f io.Reader) error {
	r := bufio.NewReader(f)
	for at := 0; ; {
		c, n, err := r.ReadRune()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("cache file: %w", err)
		case c == utf8.RuneError && n == 1:
			return ipc.Errorf(ipc.KindCacheInvalid, "the output is not UTF-8 at byte %d", at)
		}
		at += n
	}
}

// Open opens a cache's data for a reader; it is fs.ErrNotExist when the cache
// is empty. A refresh meanwhile changes nothing for the reader.
func (c *Caches) Open(name, format string) (*Cached, error) {
	path := c.Path(name, format)
	c.mu.Lock()
	known := c.tags[path]
	c.mu.Unlock()
	if known.data != nil {
		if fi, err := os.Stat(path); err == nil && known.of(fi) {
			return known.cached(io.NopCloser(bytes.NewReader(known.data))), nil
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("is no file")
	}
	if err == nil && !known.of(fi) {
		known, err = c.readTag(path, f, fi)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cache file: %w", err)
	}
	return known.cached(f), nil
}

// cached is what a reader gets.
func (t tag) cached(data io.ReadCloser) *Cached {
	return &Cached{ReadCloser: data, Size: t.file.Size(), At: t.file.ModTime(), ETag: t.etag}
}

// readTag takes the hash of a file's content, and leaves the file at its beginning.
func (c *Caches) readTag(path string, f *os.File, fi os.FileInfo) (tag, error) {
	t := tag{file: fi}
	h := sha256.New()
	var keep bytes.Buffer
	var to io.Writer = h
	if fi.Size() <= inMemory {
		to = io.MultiWriter(h, &keep)
	}
	if _, err := io.Copy(to, f); err != nil {
		return t, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return t, err
	}
	t.etag = `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`
	if keep.Len() > 0 && int64(keep.Len()) == fi.Size() {
		t.data = keep.Bytes()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tags[path] = t
	return t, nil
}
