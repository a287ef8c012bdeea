//go:build linux && crash

package crash

import (
	"cmp"
	"fmt"
	"slices"

	"dispatchd/ipc"
)

// finding is one broken promise.
type finding struct {
	promise string // a word for each, so that a planted fault can ask for its own
	text    string
}

// checker holds facts against the promises.
type checker struct {
	*facts
	rule  map[string]rule
	asked map[string][]*ask    // by job
	ran   map[string][]attempt // by job, in order of their begin
	found []finding
}

// check gives everything that breaks a promise.
func check(f *facts) []finding {
	c := &checker{facts: f, rule: map[string]rule{}, asked: map[string][]*ask{}, ran: map[string][]attempt{}}
	for _, r := range f.rules {
		c.rule[r.name] = r
	}
	for _, text := range f.faults {
		c.report("daemon", "%s", text)
	}
	slices.SortFunc(f.runs, func(a, b attempt) int { return cmp.Compare(a.from, b.from) })
	for _, r := range f.runs {
		c.ran[r.job] = append(c.ran[r.job], r)
	}
	c.answers()
	for job := range c.ran {
		if len(c.asked[job]) == 0 {
			c.report("unasked", "job %s ran, and nobody was told that it was accepted", job)
		}
	}
	for job := range f.finals {
		if len(c.asked[job]) == 0 {
			c.report("unasked", "job %s is in the history, and nobody was told that it was accepted", job)
		}
	}
	for job, asks := range c.asked {
		c.end(job, asks)
	}
	c.told()
	c.overlaps()
	c.order()
	return c.found
}

func (c *checker) report(promise, format string, args ...any) {
	c.found = append(c.found, finding{promise, fmt.Sprintf(format, args...)})
}

// answers checks that each key has one job, and each job of its own one key.
func (c *checker) answers() {
	for _, a := range c.asks {
		ids := slices.Compact(slices.Sorted(slices.Values(a.jobs)))
		switch {
		case len(ids) > 1:
			c.report("key", "key %s of %s was answered with the jobs %v", a.key, a.dispatcher, ids)
		case len(ids) == 0 && !a.refused:
			c.report("answer", "key %s of %s was never answered", a.key, a.dispatcher)
		case len(ids) > 0 && a.refused:
			c.report("key", "key %s of %s was refused and accepted", a.key, a.dispatcher)
		}
		for _, id := range ids {
			c.asked[id] = append(c.asked[id], a)
		}
	}
	for id, asks := range c.asked {
		if len(asks) > 1 && !c.rule[asks[0].dispatcher].coalesce {
			c.report("key", "job %s answers the keys %s and %s", id, asks[0].key, asks[1].key)
		}
	}
}

// end checks one accepted job: one final state, and the runs that go with it.
func (c *checker) end(id string, asks []*ask) {
	job, known := c.finals[id]
	if !known {
		c.report("lost", "job %s of %s was accepted and is not known", id, asks[0].dispatcher)
		return
	}
	if !job.State.Final() {
		c.report("open", "job %s of %s did not end: %s", id, asks[0].dispatcher, job.State)
		return
	}
	rule, runs := c.rule[job.Dispatcher], c.ran[id]
	c.belongs(job, asks, runs)
	c.attempts(job, rule, runs)
	c.result(job, rule, runs)
	for _, a := range asks {
		if len(runs) > 0 && runs[0].from < a.sent {
			c.report("joined", "key %s joined job %s of %s, which had begun %d µs before it was sent", a.key, id, job.Dispatcher, (a.sent-runs[0].from)/1000)
		}
	}
}

// belongs checks that a job ran as what it was asked for.
func (c *checker) belongs(job ipc.Job, asks []*ask, runs []attempt) {
	for _, a := range asks {
		if a.dispatcher != job.Dispatcher {
			c.report("mixed", "job %s was asked of %s and belongs to %s", job.ID, a.dispatcher, job.Dispatcher)
		}
		for _, r := range runs {
			if r.dispatcher != a.dispatcher || (r.key != a.key && !c.rule[a.dispatcher].coalesce) {
				c.report("mixed", "job %s was asked as %s %s and ran as %s %s", job.ID, a.dispatcher, a.key, r.dispatcher, r.key)
			}
		}
	}
}

// attempts checks that no run is beyond what the daemon recorded, and that
// on_interrupt = "fail" never runs again what it did not see fail.
func (c *checker) attempts(job ipc.Job, rule rule, runs []attempt) {
	numbers := map[int]bool{}
	for i, r := range runs {
		if r.number < 1 || r.number > job.Attempt || numbers[r.number] {
			c.report("attempts", "job %s of %s ran as attempt %d, %d are recorded, %d runs in all", job.ID, job.Dispatcher, r.number, job.Attempt, len(runs))
		}
		numbers[r.number] = true
		failed := r.ended && r.code != 0 || !r.ended && c.traced && rule.retries > 0
		if i < len(runs)-1 && !rule.rerun && !failed {
			c.report("twice", "job %s of %s ran again after attempt %d, which nobody saw fail", job.ID, job.Dispatcher, r.number)
		}
	}
}

// result checks that the final state is the truth about the last attempt.
func (c *checker) result(job ipc.Job, rule rule, runs []attempt) {
	var last attempt // the zero one if it did not come to begin
	for _, r := range runs {
		if r.number == job.Attempt {
			last = r
		}
	}
	ok := false
	switch job.State {
	case ipc.Succeeded:
		ok = last.ended && last.code == 0
	case ipc.Failed:
		ok = last.ended && last.code != 0 || !last.ended && c.mayBeKilled(job.ID) && killedWithShim(job)
	case ipc.Interrupted:
		ok = !rule.rerun && job.Attempt > 0
	}
	if !ok {
		c.report("result", "job %s of %s is %s after %d attempts (%+v); the children wrote %+v", job.ID, job.Dispatcher, job.State, job.Attempt, job.Error, runs)
	}
	if rule.survive && c.shims != nil && !c.mayBeKilled(job.ID) && (job.State == ipc.Interrupted || len(runs) > 0 && !rule.survived(runs)) {
		c.report("survive", "job %s of %s is %s after %d attempts (%+v), and its shim was never killed; the children wrote %+v", job.ID, job.Dispatcher, job.State, job.Attempt, job.Error, runs)
	}
}

// mayBeKilled says whether a job's shim or child may have been killed by us.
func (c *checker) mayBeKilled(job string) bool { return c.traced || c.shims[job] }

// killedWithShim says whether a failed job may be one whose shim we killed before
// it started anything. A child that a shim is just forking looks like a shim
// until it executes the job, so it may have been killed in its place.
func killedWithShim(job ipc.Job) bool {
	return job.Error.Kind == ipc.KindStartFailed || job.Error.Kind == ipc.KindSignaled && job.Signal == "SIGKILL"
}

// survived says whether every run came to its end by itself.
func (r rule) survived(runs []attempt) bool {
	return !slices.ContainsFunc(runs, func(a attempt) bool { return !a.ended })
}

// told checks that a final state that somebody was told stayed.
func (c *checker) told() {
	for _, s := range c.seen {
		if job, known := c.finals[s.job]; known && (job.State != s.state || job.Attempt != s.attempt) {
			c.report("told", "job %s of %s was told as %s after %d attempts and is %s after %d", s.job, job.Dispatcher, s.state, s.attempt, job.State, job.Attempt)
		}
	}
}

// order checks for dispatchers that run one at a time that what was accepted
// before another was even sent began before it.
func (c *checker) order() {
	latest := map[string]*ask{} // by dispatcher: of the jobs that began so far, the one sent last
	begun := map[string]bool{}
	for _, r := range c.runs {
		asks := c.asked[r.job]
		if begun[r.job] || len(asks) == 0 || c.rule[r.dispatcher].concurrency > 1 {
			continue
		}
		begun[r.job] = true
		first := slices.MinFunc(asks, func(a, b *ask) int { return cmp.Compare(a.acked, b.acked) })
		sent := slices.MinFunc(asks, func(a, b *ask) int { return cmp.Compare(a.sent, b.sent) })
		if before := latest[r.dispatcher]; before != nil && first.acked < before.sent {
			c.report("order", "of %s, job %s was accepted before %s was sent, and began after it", r.dispatcher, r.job, before.jobs[0])
		}
		if before := latest[r.dispatcher]; before == nil || sent.sent > before.sent {
			latest[r.dispatcher] = sent
		}
	}
}
