package jobs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// ending files a job as ended, and prunes.
func ending(t *testing.T, s *State, n int, name string, state ipc.State, lived time.Duration, args, result string) {
	t.Helper()
	j := &store.Job{
		ID: numbered(n), Dispatcher: name, State: state, CreatedAt: 1, Arguments: json.RawMessage(args),
		Run: &store.Outcome{EndedAt: int64(n), Result: json.RawMessage(result)},
	}
	if _, err := s.Apply(store.Record{Op: store.OpDone, ID: j.ID, Extra: store.Extra{Lived: seconds(lived)}, Job: j}); err != nil {
		t.Fatal(err)
	}
	s.Prune(lived)
}

// defined puts dispatchers in force.
func defined(s *State, names ...string) {
	c := &dispatchers.Catalog{Specs: map[string]*dispatchers.Spec{}}
	for _, name := range names {
		c.Specs[name] = &dispatchers.Spec{Name: name}
	}
	s.Define(c)
}

// known lists the jobs of a dispatcher that are kept, by number.
func known(s *State, name string) (list []int) {
	for _, j := range s.List(ipc.JobFilter{Dispatcher: name, Limit: 1000}) {
		id := j.ID()
		list = append(list, int(id[14])<<8|int(id[15]))
	}
	slices.Reverse(list)
	return list
}

// text is a JSON string of n bytes.
func text(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }

// A noisy dispatcher pushes nobody else's jobs out, whatever bound it meets, and
// loses its own oldest ones.
func TestNoisyDispatcher(t *testing.T) {
	for name, c := range map[string]struct {
		keep store.Retention
		args string
	}{
		"by count":          {store.Retention{Count: 100, Floor: 3}, ""},
		"by bytes":          {store.Retention{Bytes: 100_000, Floor: 3}, text(1000)},
		"by large ones":     {store.Retention{Bytes: 100_000, Floor: 3}, text(50_000)},
		"without any floor": {store.Retention{Count: 100}, ""},
	} {
		s := New(c.keep)
		defined(s, "quiet", "noisy")
		for n := range 5 {
			ending(t, s, n, "quiet", ipc.Succeeded, 0, `{"a":1}`, "")
		}
		for n := 5; n < 1000; n++ {
			ending(t, s, n, "noisy", ipc.Succeeded, 0, c.args, "")
		}
		if got := known(s, "quiet"); !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("%s: of the quiet one are left %v", name, got)
		}
		noisy := known(s, "noisy")
		if len(noisy) < 50 || noisy[len(noisy)-1] != 999 || noisy[len(noisy)-1]-noisy[0] != len(noisy)-1 {
			t.Errorf("%s: of the noisy one are left %v", name, noisy)
		}
		if c.keep.Count > 0 && s.History() > c.keep.Count || c.keep.Bytes > 0 && s.archive.bytes > c.keep.Bytes {
			t.Errorf("%s: %d jobs, %d bytes", name, s.History(), s.archive.bytes)
		}
	}
}

// Large arguments are cut before a job is forgotten, and only where they must; the
// job says so, and its retry has nothing to run with.
func TestLargeArgumentsAreCut(t *testing.T) {
	s := New(store.Retention{Bytes: 100_000, Floor: 1})
	defined(s, "op", "quiet")
	ending(t, s, 0, "quiet", ipc.Succeeded, 0, text(20_000), "")
	for n := 1; n < 5; n++ {
		ending(t, s, n, "op", ipc.Succeeded, 0, text(30_000), text(100))
	}
	for n := range 5 {
		j, ok := s.Job(numbered(n))
		if !ok {
			t.Fatalf("job %d is forgotten", n)
		}
		v, cut := j.State().View(), n == 1 || n == 2
		if slices.Contains(v.Omitted, "arguments") != cut || (v.Arguments == nil) != cut || slices.Contains(v.Omitted, "result") {
			t.Errorf("job %d: omitted %v, %d bytes of arguments, want them cut: %v", n, v.Omitted, len(v.Arguments), cut)
		}
		if cut && string(j.State().Arguments) == "" {
			t.Error("an earlier version would retry it without arguments")
		}
	}
}

// The last jobs of a dispatcher stay, and the last that succeeded; of one that was
// removed nothing outlives its age.
func TestFloorAndAge(t *testing.T) {
	s := New(store.Retention{Age: 10 * time.Hour, Floor: 2})
	defined(s, "backup", "gone")
	ending(t, s, 0, "backup", ipc.Succeeded, 0, "", "")
	for n := 1; n < 5; n++ {
		ending(t, s, n, "backup", ipc.Failed, time.Hour, "", "")
	}
	ending(t, s, 5, "gone", ipc.Succeeded, time.Hour, "", "")
	defined(s, "backup")
	s.Prune(10*time.Hour + 59*time.Minute)
	if got := known(s, "backup"); !slices.Equal(got, []int{0, 1, 2, 3, 4}) || len(known(s, "gone")) != 1 {
		t.Errorf("young ones: %v, %v", got, known(s, "gone"))
	}
	s.Prune(12 * time.Hour)
	if got := known(s, "backup"); !slices.Equal(got, []int{0, 3, 4}) || len(known(s, "gone")) != 0 {
		t.Errorf("old ones: %v, %v", got, known(s, "gone"))
	}
	logs, _ := s.Logs()
	if len(logs) != 3 || logs[numbered(3)] != (store.LogOwner{Dispatcher: "backup", Floor: true}) {
		t.Errorf("%+v", logs)
	}
}

// Floors that together are far above the bound give way as well, and what is large
// in them is cut.
func TestFloorsAreBounded(t *testing.T) {
	const names, bound = 50, 200_000
	s := New(store.Retention{Bytes: bound, Floor: 10})
	var all []string
	for n := range 20 * names {
		name := fmt.Sprintf("d%d", n%names)
		if n < names {
			all = append(all, name)
			defined(s, all...)
		}
		ending(t, s, n, name, ipc.Failed, 0, text(3_000), text(10_000))
	}
	for _, name := range all {
		if got := known(s, name); len(got) < 1 {
			t.Errorf("of %s are left %v", name, got)
		}
	}
	if s.archive.bytes > 2*bound+20_000 {
		t.Errorf("%d bytes", s.archive.bytes)
	}
}

// What a dispatcher's last jobs came to is known again after a start, from the
// snapshot or from the records behind it.
func TestLastEndsAreReplayed(t *testing.T) {
	s := New(store.Retention{})
	apply := func(r store.Record) {
		t.Helper()
		if err := s.Replay().Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	done := func(n int, state ipc.State) ulid.ULID {
		j := &store.Job{ID: numbered(n), Dispatcher: "op", State: state, Run: &store.Outcome{EndedAt: int64(n)}}
		apply(store.Record{Op: store.OpDone, ID: j.ID, Job: j})
		return j.ID
	}
	good := done(1, ipc.Succeeded)
	bad := done(2, ipc.TimedOut)
	want := func(last, success LastJob) {
		t.Helper()
		if d := s.Dispatcher("op"); d.Last != last || d.LastSuccess != success {
			t.Errorf("%+v, %+v; want %+v, %+v", d.Last, d.LastSuccess, last, success)
		}
	}
	success := LastJob{good.String(), ipc.Succeeded, 1}
	want(LastJob{bad.String(), ipc.TimedOut, 2}, success)
	open := numbered(3)
	apply(store.Record{Op: store.OpAccept, ID: open, Job: &store.Job{ID: open, Dispatcher: "op", State: ipc.Queued}})
	want(LastJob{bad.String(), ipc.TimedOut, 2}, success)
	apply(store.Record{Op: store.OpEnd, ID: open, State: ipc.Succeeded, Run: &store.Outcome{EndedAt: 3}})
	want(LastJob{open.String(), ipc.Succeeded, 3}, LastJob{open.String(), ipc.Succeeded, 3})
}
