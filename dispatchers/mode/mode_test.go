package mode

import (
	"encoding/json"
	"slices"
	"testing"
)

// checkWords holds the words of one type against what files, records of
// launches and the wire have had since version 0.1.
func checkWords[T Word[T]](t *testing.T, want ...string) {
	t.Helper()
	var zero T
	var got []string
	for _, v := range zero.Values() {
		got = append(got, string(v))
		data, err := json.Marshal(v)
		if err != nil || string(data) != `"`+string(v)+`"` {
			t.Errorf("%T %q is %s on the wire, %v", v, v, data, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%T has the words %q, want %q", zero, got, want)
	}
	for _, bad := range []string{"", "none ", "Group", "x"} {
		if slices.Contains(zero.Values(), T(bad)) {
			t.Errorf("%T %q is a word", zero, bad)
		}
	}
}

func TestWords(t *testing.T) {
	checkWords[KillMode](t, "group", "tree", "process", "none")
	checkWords[Leftovers](t, "leave", "kill")
	checkWords[OnInterrupt](t, "fail", "rerun")
	checkWords[Overlap](t, "queue", "skip")
	checkWords[Durability](t, "disk", "relaxed", "memory")
}

// A caller that changes what Values gave changes nobody else's.
func TestValuesAreOwn(t *testing.T) {
	Group.Values()[0] = "x"
	if Group.Values()[0] != Group {
		t.Error("Values gives its own list away")
	}
}

func TestKillMode(t *testing.T) {
	for m, want := range map[KillMode]struct {
		tracked, never bool
		targets        Targets
	}{
		Group:        {false, false, TargetGroup},
		Tree:         {true, false, TargetTree},
		Process:      {false, false, TargetProcess},
		None:         {false, true, TargetProcess},
		"":           {false, false, TargetGroup}, // a record without the key
		"of a newer": {false, false, TargetGroup},
	} {
		if m.Tracked() != want.tracked || m.Never() != want.never || m.Targets() != want.targets {
			t.Errorf("%q: tracked %t, never %t, targets %d", m, m.Tracked(), m.Never(), m.Targets())
		}
	}
}

func TestLeftovers(t *testing.T) {
	for l, want := range map[Leftovers]bool{Leave: false, Kill: true, "": false} {
		if l.Tracked() != want {
			t.Errorf("%q: tracked %t", l, l.Tracked())
		}
	}
}

// Only a start that may happen twice, of a job that is on disk, is relaxed: a
// job in memory stays there, and a relaxed one is no safer by its start.
func TestStartDurability(t *testing.T) {
	for _, c := range []struct {
		o       OnInterrupt
		d, want Durability
	}{
		{Fail, Disk, Disk},
		{Fail, Relaxed, Relaxed},
		{Fail, Memory, Memory},
		{Rerun, Disk, Relaxed},
		{Rerun, Relaxed, Relaxed},
		{Rerun, Memory, Memory},
		{"", Disk, Disk}, // not known is not allowed
	} {
		if got := c.o.StartDurability(c.d); got != c.want {
			t.Errorf("start of a %q job with durability %s: %s, want %s", c.o, c.d, got, c.want)
		}
	}
}
