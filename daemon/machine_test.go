package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/scheduler"
)

// Jitter spreads by the machine's own id: machines of one name differ, and one that
// is renamed stays where it was. An image that is made for copies has no id yet.
func TestMachine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const one, other = "3d1219c7c4c5404aaa1f6d2a48adfda4", "564d2b5f-8a0c-11ef-9d2e-0050569b1c3a"
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		state string
		files []string
		want  string
	}{
		{"01STORE", []string{file("a", one+"\n"), file("b", other)}, one},
		{"01STORE", []string{filepath.Join(dir, "none"), file("b", other)}, other},
		{"01STORE", []string{file("c", ""), file("d", "uninitialized\n"), file("e", "00000000000000000000000000000000\n"), file("f", "\x01\x02\x03\x04")}, "01STORE"},
		{"01STORE", nil, "01STORE"},
		{"", nil, name},
	} {
		if got := machineOf(c.state, c.files...); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.state, c.files, got, c.want)
		}
	}
	if scheduler.Offset(time.Hour, one, "op") == scheduler.Offset(time.Hour, other, "op") {
		t.Error("two machines have one offset")
	}
}

// A job that was accepted under the clock of 1970 has not waited for 50 years: it
// would expire at the next boot.
func TestWaitedSince1970(t *testing.T) {
	h := &host{bootShort: "now"}
	created := time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)
	if got := h.waited(&store.Job{CreatedAt: created.UnixNano(), Up: 1, Boot: "before"}); got != 0 {
		t.Errorf("waited %s", got)
	}
	if got := h.waited(&store.Job{CreatedAt: time.Now().Add(-time.Hour).UnixNano(), Up: 1, Boot: "before"}); got < time.Hour || got > 2*time.Hour {
		t.Errorf("waited %s, want an hour", got)
	}
	if got := h.waited(&store.Job{CreatedAt: time.Now().Add(time.Hour).UnixNano(), Up: 1, Boot: "before"}); got != 0 {
		t.Errorf("from the future: waited %s", got)
	}
}
