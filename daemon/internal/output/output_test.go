package output

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestKept(t *testing.T) {
	for _, c := range []struct{ size, max, head, tail int64 }{
		{0, 10, 0, 0},
		{10, 10, 10, 10},
		{11, 10, 5, 6},
		{100, 11, 5, 94}, // an odd bound: the tail gets the byte more
		{100, 0, 100, 100},
		{100, -1, 100, 100},
	} {
		if head, tail := Kept(c.size, c.max); head != c.head || tail != c.tail {
			t.Errorf("Kept(%d, %d) = %d, %d, want %d, %d", c.size, c.max, head, tail, c.head, c.tail)
		}
	}
}

// blocks counts the bytes that a file takes on its disk.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks) * 512
}

// A long output keeps its head, its tail and its length, and gives the rest back.
func TestEnforce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const size, max = 64 * page, 8 * page
	text := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	o := File{Path: path, Max: max}
	if grew, err := o.Enforce(); grew || err != nil {
		t.Errorf("without a file: %v, %v", grew, err)
	}
	if err := os.WriteFile(path, text[:max], 0o600); err != nil {
		t.Fatal(err)
	}
	if grew, err := o.Enforce(); !grew || err != nil || blocks(t, path) < max {
		t.Errorf("at the bound: %v, %v, %d bytes on disk", grew, err, blocks(t, path))
	}
	if grew, err := o.Enforce(); grew || err != nil {
		t.Errorf("without growth: %v, %v", grew, err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	switch grew, err := o.Enforce(); {
	case errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS):
		t.Skip("this file system makes no holes")
	case !grew || err != nil:
		t.Fatalf("beyond the bound: %v, %v", grew, err)
	}
	if n := blocks(t, path); n > max+2*page {
		t.Errorf("%d bytes on disk, want at most %d", n, max+2*page)
	}
	got, err := os.ReadFile(path)
	if err != nil || len(got) != size {
		t.Fatalf("%d bytes long, %v", len(got), err)
	}
	head, tail := Kept(size, max)
	if !bytes.Equal(got[:head], text[:head]) || !bytes.Equal(got[tail:], text[tail:]) {
		t.Error("head or tail changed")
	}
	if bytes.Equal(got[head:tail], text[head:tail]) {
		t.Error("the middle is still there: this test tests nothing")
	}
}

// Without a bound nothing is given back, and a bound that no page fits into
// frees none.
func TestTrimNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, 3*page), 0o600); err != nil {
		t.Fatal(err)
	}
	before := blocks(t, path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, max := range []int64{0, 3*page - 1, 4 * page} {
		if err := Trim(f, 3*page, max); err != nil {
			t.Errorf("bound %d: %v", max, err)
		}
	}
	o := File{Path: path}
	if grew, err := o.Enforce(); !grew || err != nil {
		t.Errorf("without a bound: %v, %v", grew, err)
	}
	if after := blocks(t, path); after != before {
		t.Errorf("%d bytes on disk, %d before", after, before)
	}
}

// Data that is too long is one byte too long.
func TestCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	Cut(path, 10) // is not there
	for _, c := range []struct{ size, want int64 }{{10, 10}, {11, 11}, {12, 11}, {1000, 11}} {
		if err := os.WriteFile(path, make([]byte, c.size), 0o600); err != nil {
			t.Fatal(err)
		}
		Cut(path, 10)
		if fi, err := os.Stat(path); err != nil || fi.Size() != c.want {
			t.Errorf("%d bytes became %d, want %d (%v)", c.size, fi.Size(), c.want, err)
		}
	}
}
