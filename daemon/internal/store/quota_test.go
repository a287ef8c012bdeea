package store

import (
	"bytes"
	"os"
	"testing"

	"github.com/oklog/ulid/v2"
)

// The first output after a start has all of them counted; then nothing is, as
// long as they fit together.
func TestQuotaCountsSeldom(t *testing.T) {
	q := NewQuota(1 << 20)
	if !q.Add(1) {
		t.Fatal("outputs of an earlier life are not counted at all")
	}
	if q.Add(1) {
		t.Fatal("counted while they are being counted")
	}
	q.Counted(0)
	counts := 0
	for range 10_000 {
		if q.Add(0) {
			counts++
		}
	}
	if counts != 0 {
		t.Errorf("counted %d times, though nothing was printed", counts)
	}
}

// Whatever is printed, the outputs never take more than the bound and a 64th
// of it, and the blocks of an output count, not its bytes.
func TestQuotaBounds(t *testing.T) {
	const total, each = 1 << 20, 5000
	q := NewQuota(total)
	var have int64
	counts := 0
	for range 1000 {
		have += 2 * page
		if q.Add(each) {
			counts++
			have = min(have, total)
			q.Counted(have)
		}
		if have > total+total/slack+2*page {
			t.Fatalf("%d bytes, the bound is %d", have, total)
		}
	}
	if counts < 100 || counts > 500 {
		t.Errorf("counted %d times in 1000 outputs", counts)
	}
}

// The oldest outputs go first, an open job's stays, and what is left is told.
func TestEnforceLogs(t *testing.T) {
	d, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	ids := make([]ulid.ULID, 6)
	for i := range ids {
		ids[i] = ulid.ULID{byte(i + 1)}
		if err := os.WriteFile(d.LogPath(ids[i]), bytes.Repeat([]byte("x"), 2*page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left := d.EnforceLogs(6*page, func(id ulid.ULID) bool { return id == ids[0] })
	if want := int64(8 * page); left != want {
		t.Errorf("left %d bytes, want %d", left, want)
	}
	for i, id := range ids {
		_, err := os.Stat(d.LogPath(id))
		if gone, want := err != nil, i == 1 || i == 2; gone != want {
			t.Errorf("output %d: gone %v, want %v", i, gone, want)
		}
	}
}
