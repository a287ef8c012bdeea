//go:build linux && crash

package crash

import (
	"testing"

	"dispatchd/ipc"
)

// good are facts that break nothing: two jobs of one dispatcher, one after the
// other, and one that failed under a lock.
func good() *facts {
	run := func(d, job string, n int, key string, from, to int64, code int) attempt {
		return attempt{dispatcher: d, job: job, number: n, pid: int(from), parent: 1, key: key, from: from, to: to, ended: true, code: code}
	}
	return &facts{
		rules: []rule{{name: "one"}, {name: "redo", rerun: true, exclusive: "l"}, {name: "under", survive: true, exclusive: "l"}, {name: "merge", coalesce: true}},
		asks: []*ask{
			{dispatcher: "one", key: "k1", sent: 10, acked: 15, jobs: []string{"A", "A"}},
			{dispatcher: "one", key: "k2", sent: 20, acked: 25, jobs: []string{"B"}},
			{dispatcher: "redo", key: "k3", sent: 30, acked: 35, jobs: []string{"C"}},
			{dispatcher: "under", key: "k4", sent: 30, acked: 35, jobs: []string{"D"}},
			{dispatcher: "merge", key: "k5", sent: 30, acked: 35, jobs: []string{"E"}},
			{dispatcher: "merge", key: "k6", sent: 31, acked: 35, jobs: []string{"E"}},
			{dispatcher: "one", key: "k7", sent: 40, refused: true},
		},
		runs: []attempt{
			run("one", "A", 1, "k1", 100, 110, 0), run("one", "B", 1, "k2", 110, 120, 1),
			{dispatcher: "redo", job: "C", number: 1, key: "k3", from: 100, to: 105},
			run("redo", "C", 2, "k3", 110, 120, 0),
			run("under", "D", 1, "k4", 120, 130, 0), run("merge", "E", 1, "-", 100, 110, 0),
		},
		finals: map[string]ipc.Job{
			"A": {ID: "A", Dispatcher: "one", State: ipc.Succeeded, Attempt: 1},
			"B": {ID: "B", Dispatcher: "one", State: ipc.Failed, Attempt: 1, Error: &ipc.JobError{Kind: ipc.KindExitStatus}},
			"C": {ID: "C", Dispatcher: "redo", State: ipc.Succeeded, Attempt: 2},
			"D": {ID: "D", Dispatcher: "under", State: ipc.Succeeded, Attempt: 1},
			"E": {ID: "E", Dispatcher: "merge", State: ipc.Succeeded, Attempt: 1},
		},
		seen:  []seen{{"A", ipc.Succeeded, 1}},
		holds: []hold{{"l", 130, 140}},
		shims: map[string]bool{},
	}
}

// Every promise of the checker is broken once, and it says which.
func TestChecker(t *testing.T) {
	if found := check(good()); len(found) > 0 {
		t.Fatalf("good facts: %v", found)
	}
	final := func(f *facts, id string, change func(*ipc.Job)) {
		job := f.finals[id]
		change(&job)
		f.finals[id] = job
	}
	cases := []struct {
		name, promise string
		change        func(*facts)
	}{
		{"two jobs for a key", "key", func(f *facts) { f.asks[0].jobs[1] = "B" }},
		{"two keys for a job", "key", func(f *facts) { f.asks[1].jobs[0] = "A" }},
		{"refused and accepted", "key", func(f *facts) { f.asks[0].refused = true }},
		{"never answered", "answer", func(f *facts) { f.asks[6].refused = false }},
		{"accepted and gone", "lost", func(f *facts) { delete(f.finals, "A") }},
		{"accepted and open", "open", func(f *facts) { final(f, "A", func(j *ipc.Job) { j.State = ipc.Queued }) }},
		{"ran unasked", "unasked", func(f *facts) { f.runs = append(f.runs, attempt{dispatcher: "one", job: "X", from: 900}) }},
		{"known unasked", "unasked", func(f *facts) { f.finals["X"] = ipc.Job{ID: "X"} }},
		{"joined what ran", "joined", func(f *facts) { f.asks[5].sent = 101 }},
		{"of another dispatcher", "mixed", func(f *facts) { final(f, "A", func(j *ipc.Job) { j.Dispatcher = "merge" }) }},
		{"with other arguments", "mixed", func(f *facts) { f.runs[0].key = "k9" }},
		{"more runs than attempts", "attempts", func(f *facts) { final(f, "C", func(j *ipc.Job) { j.Attempt = 1 }) }},
		{"one attempt twice", "attempts", func(f *facts) { f.runs[3].number = 1 }},
		{"again after no end", "twice", func(f *facts) { f.rules[1].rerun = false }},
		{"succeeded without an end", "result", func(f *facts) { f.runs[0].ended = false }},
		{"succeeded by failing", "result", func(f *facts) { f.runs[0].code = 1 }},
		{"failed by succeeding", "result", func(f *facts) { f.runs[1].code = 0 }},
		{"rerun and interrupted", "result", func(f *facts) { final(f, "C", func(j *ipc.Job) { j.State = ipc.Interrupted }) }},
		{"expired", "result", func(f *facts) { final(f, "A", func(j *ipc.Job) { j.State = ipc.Expired }) }},
		{"interrupted below a shim", "survive", func(f *facts) { final(f, "D", func(j *ipc.Job) { j.State = ipc.Interrupted }) }},
		{"killed below a shim", "survive", func(f *facts) { f.runs[4].ended = false }},
		{"told and taken back", "told", func(f *facts) { f.seen[0].state = ipc.Interrupted }},
		{"two at a time", "overlap", func(f *facts) { f.runs[0].to = 111 }},
		{"two with a lock", "lock", func(f *facts) { f.runs[4].from = 119 }},
		{"a lock beside one outside", "lock", func(f *facts) { f.holds[0].from = 129 }},
		{"the later before the earlier", "order", func(f *facts) { f.runs[0].from, f.runs[0].to = 121, 125 }},
		{"the daemon fell", "daemon", func(f *facts) { f.faults = []string{"it fell"} }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := good()
			c.change(f)
			for _, found := range check(f) {
				if found.promise == c.promise {
					return
				}
			}
			t.Errorf("not found; found %v", check(f))
		})
	}
}
