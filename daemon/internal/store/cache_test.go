package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// memoryDir is a directory on a disk that needs no syncs, where there is one:
// what is asked here is whether a reader ever sees half a file.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "caches")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Whoever reads the file as a plain file has all of one version, at any instant.
func TestCacheIsNeverTorn(t *testing.T) {
	c, err := NewCaches(memoryDir(t), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	rewrites := box.Sample(10_000)
	version := func(n int) string { // longer and shorter ones by turns
		return fmt.Sprintf(`{"from":%d,"fill":%q,"to":%d}`, n, strings.Repeat("x", n%7*3000), n)
	}
	var done atomic.Bool
	reads, torn := 0, 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		last := -1
		for !done.Load() {
			text, err := os.ReadFile(c.Path("op", "json"))
			if errors.Is(err, fs.ErrNotExist) && last < 0 {
				continue
			}
			var v struct{ From, To int }
			if err != nil || json.Unmarshal(text, &v) != nil || v.From != v.To || v.From < last {
				torn++
			}
			last = v.From
			reads++
		}
	}()
	for n := range rewrites {
		part := c.Part("op", "a-1")
		if err := os.WriteFile(part, []byte(version(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Replace(Data{"op", "json", 1 << 20, Access{0o640, -1}}, part, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	<-ended
	t.Logf("%d rewrites, %d reads", rewrites, reads)
	if torn > 0 || reads < rewrites/100 {
		t.Errorf("%d of %d reads were torn", torn, reads)
	}
}

// What is no data is refused in words that say where, and the last good file
// stays as it was.
func TestCacheRefuses(t *testing.T) {
	c, err := NewCaches(t.TempDir(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	put := func(format, text string) error {
		part := c.Part("op", "a-1")
		if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.Replace(Data{"op", format, 100, Access{0o640, -1}}, part, time.Now())
		if _, serr := os.Stat(part); !errors.Is(serr, fs.ErrNotExist) {
			t.Errorf("%q: the part is left", text)
		}
		return err
	}
	for _, format := range []string{"json", "text"} {
		if err := put(format, "[1]"); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ format, text, want string }{
		{"json", "", "is empty"},
		{"text", "", "is empty"},
		{"json", `{"a":`, "ends after 5 bytes"},
		{"json", `{"a":}`, "byte 6"},
		{"json", "PHP Warning: x\n[]", "byte 1"},
		{"json", "[1] [2]", "something follows it at byte 5"},
		{"json", "\"\xe9\"", "is not UTF-8 at byte 1"},
		{"json", "\ufeff[1]", "byte order mark"},
		{"json", `"\ud800"`, "half of a surrogate pair"},
		{"json", "\xff\xfe1\x00", "is not UTF-8 at byte 0"},
		{"json", `{"a":1,"a":2}`, `name "a" twice`},
		{"json", "[NaN]", "byte 2"},
		{"json", "[1]" + strings.Repeat(" ", 98), "longer than max_size, which is 100"},
		{"text", "ab\xff", "UTF-8 at byte 2"},
	} {
		err := put(tt.format, tt.text)
		if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindCacheInvalid || !strings.Contains(p.Detail, tt.want) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
		if got, err := os.ReadFile(c.Path("op", tt.format)); err != nil || string(got) != "[1]" {
			t.Errorf("%q: the file is now %q, %v", tt.text, got, err)
		}
	}
	for _, text := range []string{" [1]\n", `"a"`, "1", strings.Repeat(" ", 97) + "[1]"} {
		if err := put("json", text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A refresh that put its data in place, and whose end was told twice because a
// daemon died in between, is good the second time; one without data is not.
func TestCacheTwice(t *testing.T) {
	c, err := NewCaches(t.TempDir(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Second)
	part := c.Part("op", "a-1")
	if err := c.Replace(Data{"op", "json", 100, Access{0o640, -1}}, part, began); err == nil {
		t.Error("nothing was there")
	}
	if err := os.WriteFile(part, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Replace(Data{"op", "json", 100, Access{0o640, -1}}, part, began); err != nil {
			t.Error(err)
		}
	}
	if err := c.Replace(Data{"op", "json", 100, Access{0o640, -1}}, part, time.Now().Add(time.Minute)); err == nil {
		t.Error("a later refresh without data was good")
	}
	// Nor does a file that a wrong clock has left make one good.
	future := time.Now().AddDate(5, 0, 0)
	if err := os.Chtimes(c.Path("op", "json"), future, future); err != nil {
		t.Fatal(err)
	}
	if err := c.Replace(Data{"op", "json", 100, Access{0o640, -1}}, part, time.Now()); err == nil {
		t.Error("data from the future was taken for that of a refresh without data")
	}
}

// The same content has the same tag, another content another one; a file that
// somebody else put there is noticed.
func TestCacheTags(t *testing.T) {
	c, err := NewCaches(t.TempDir(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open("op", "json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty: %v", err)
	}
	tag := func(text string) string {
		if err := os.WriteFile(c.Path("op", "json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := c.Open("op", "json")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		if got, err := io.ReadAll(d); string(got) != text || err != nil || d.Size != int64(len(text)) {
			t.Errorf("%q, %v", got, err)
		}
		return d.ETag
	}
	one, two := tag("1"), tag("22")
	if one == two || tag("1") != one || !strings.HasPrefix(one, `"`) || !strings.HasSuffix(one, `"`) {
		t.Errorf("tags %s, %s", one, two)
	}
}

// What refreshes of an earlier daemon left is removed, but not what one that
// goes on still writes to.
func TestCacheParts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".op.01A-1.part", ".op.01B-2.part", "op.json", ".other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewCaches(dir, func(attempt string) bool { return attempt == "01B-2" }); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if got := fmt.Sprint(left); err != nil || got != "[.op.01B-2.part .other op.json]" {
		t.Errorf("left: %s, %v", got, err)
	}
}

// The file of a cache is for whom its definition says, when it is written and where
// a version before has left it for everybody.
func TestCacheAccess(t *testing.T) {
	c, err := NewCaches(t.TempDir(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	look := func() (mode fs.FileMode, gid int) {
		t.Helper()
		fi, err := os.Stat(c.Path("op", "json"))
		if err != nil {
			t.Fatal(err)
		}
		st, _ := fi.Sys().(*syscall.Stat_t)
		return fi.Mode().Perm(), int(st.Gid)
	}
	if err := c.Protect(Data{"op", "json", 100, Access{0o640, -1}}); err != nil {
		t.Errorf("an empty cache: %v", err)
	}
	groups := []int{-1}
	if os.Geteuid() == 0 {
		groups = append(groups, 12345, 0)
	}
	for _, mode := range []fs.FileMode{0o640, 0o600, 0o644, 0o440} {
		for _, gid := range groups {
			part := c.Part("op", "a-1")
			if err := os.WriteFile(part, []byte("1"), 0o600); err != nil {
				t.Fatal(err)
			}
			d := Data{"op", "json", 100, Access{mode, gid}}
			if err := c.Replace(d, part, time.Now()); err != nil {
				t.Fatal(err)
			}
			if m, g := look(); m != mode || gid >= 0 && g != gid {
				t.Errorf("replaced: mode %04o, group %d, want %04o and %d", m, g, mode, gid)
			}
			if err := os.Chmod(c.Path("op", "json"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.Protect(d); err != nil {
				t.Error(err)
			}
			if m, g := look(); m != mode || gid >= 0 && g != gid {
				t.Errorf("protected: mode %04o, group %d, want %04o and %d", m, g, mode, gid)
			}
		}
	}
}
