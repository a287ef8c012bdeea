package store

import (
	"bytes"
	"os"
	"slices"
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

// outputs makes a state directory with outputs of two pages each, the oldest first.
func outputs(t *testing.T, n int) (*Dir, []ulid.ULID) {
	t.Helper()
	d, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	ids := make([]ulid.ULID, n)
	for i := range ids {
		ids[i] = ulid.ULID{byte(i + 1)}
		if err := os.WriteFile(d.LogPath(ids[i]), bytes.Repeat([]byte("x"), 2*page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d, ids
}

// left lists the outputs that are there.
func left(d *Dir, ids []ulid.ULID) (list []int) {
	for i, id := range ids {
		if _, err := os.Stat(d.LogPath(id)); err == nil {
			list = append(list, i)
		}
	}
	return list
}

// Who takes most gives way first, its oldest output before the rest; the last
// ones of each dispatcher go last, an open job's stays, and what is left is told.
func TestEnforceLogs(t *testing.T) {
	type owners map[int]LogOwner
	quiet, noisy, floor := LogOwner{Dispatcher: "quiet"}, LogOwner{Dispatcher: "noisy"}, LogOwner{Dispatcher: "noisy", Floor: true}
	for name, c := range map[string]struct {
		owners owners // of others nobody knows
		pages  int64
		want   []int
	}{
		"they fit":                {owners{}, 12, []int{0, 1, 2, 3, 4, 5}},
		"nobody knows them":       {owners{0: {Open: true}}, 6, []int{0, 4, 5}},
		"of one":                  {owners{0: noisy, 1: noisy, 2: noisy, 3: noisy, 4: floor, 5: floor}, 6, []int{3, 4, 5}},
		"the quiet one is oldest": {owners{0: quiet, 1: noisy, 2: noisy, 3: noisy, 4: noisy, 5: noisy}, 6, []int{0, 4, 5}},
		"the floors alone":        {owners{0: quiet, 1: quiet, 2: floor, 3: floor, 4: floor, 5: floor}, 6, []int{1, 4, 5}},
		"the very last stays":     {owners{0: {"a", false, true}, 1: {"b", false, true}, 2: {"c", false, true}, 3: {"d", false, true}, 4: {"d", false, true}, 5: {"d", false, true}}, 2, []int{0, 1, 2, 5}},
	} {
		d, ids := outputs(t, 6)
		use := d.EnforceLogs(c.pages*page, func(id ulid.ULID) LogOwner { return c.owners[int(id[0])-1] })
		if got := left(d, ids); !slices.Equal(got, c.want) || use != int64(len(c.want))*2*page {
			t.Errorf("%s: %v are left, %d bytes; want %v", name, got, use, c.want)
		}
	}
}

// A file that somebody has open gives its blocks back all the same.
func TestRemovedOutputHoldsNothing(t *testing.T) {
	d, ids := outputs(t, 1)
	f, err := os.Open(d.LogPath(ids[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	d.RemoveLogs(ids)
	fi, err := f.Stat()
	if err != nil || diskUse(fi) != 0 || len(left(d, ids)) != 0 {
		t.Errorf("%d bytes are held, %v", diskUse(fi), err)
	}
}
