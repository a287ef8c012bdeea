package jobs

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

const (
	// slackPart is the part of a bound by which a pass goes below it, so that not
	// each end at the bound costs a walk over the whole archive.
	slackPart = 64
	// largePart is what of a job's arguments or result is cut before a job is
	// forgotten: what has more.
	largePart = 2 << 10
	// ageEvery bounds how often ages are looked at, by the store's Timeline.
	ageEvery = 10 * time.Minute
)

// due says when the archive has to be looked through.
type due struct {
	count int           // with more jobs
	bytes int64         // with more bytes
	at    time.Duration // on the timeline, for what is too old
}

// pass is one walk through the archive that brings it within its bounds.
//
// Of each dispatcher the last jobs stay (the floor), and the last one that
// succeeded, however old: they are what people ask for. Of the others the
// dispatcher that has most gives way first, its oldest job before the rest, so
// that a noisy one does not push the others out. Before a job is forgotten for its
// bytes, large arguments are cut, with a mark.
type pass struct {
	*archive
	floor []bool // of each job
	drop  []bool
}

// prune forgets jobs until the others are within the bounds, and lists those that
// it forgot, the oldest first. Of a removed dispatcher nothing outlives its age.
func (a *archive) prune(now time.Duration) []ulid.ULID {
	if !a.over(now) {
		return nil
	}
	p := &pass{archive: a, drop: make([]bool, len(a.jobs))}
	p.markFloor(a.floorOf())
	p.tooOld(now)
	p.tooMany()
	p.tooLarge()
	if floor := min(1, a.keep.Floor); a.keep.Bytes > 0 && a.bytes > 2*a.keep.Bytes && floor > 0 {
		p.markFloor(floor) // the floors alone are more than twice the bound
		p.tooLarge()
	}
	gone := p.sweep()
	a.due = due{
		count: max(a.keep.Count, len(a.jobs)+a.keep.Count/slackPart), bytes: max(a.keep.Bytes, a.bytes+a.keep.Bytes/slackPart),
		at: now + max(time.Second, min(ageEvery, a.keep.Age/slackPart)),
	}
	return gone
}

// over reports whether a bound may be passed.
func (a *archive) over(now time.Duration) bool {
	return (a.keep.Count > 0 && len(a.jobs) > max(a.keep.Count, a.due.count)) ||
		(a.keep.Bytes > 0 && a.bytes > max(a.keep.Bytes, a.due.bytes)) || (a.keep.Age > 0 && now >= a.due.at)
}

// floorOf is how many of the last jobs of each dispatcher stay. Who wants fewer
// jobs in all wants no more of one dispatcher.
func (a *archive) floorOf() int {
	if a.keep.Count > 0 {
		return min(a.keep.Floor, a.keep.Count)
	}
	return a.keep.Floor
}

// markFloor finds the jobs that stay.
func (p *pass) markFloor(n int) {
	p.floor = make([]bool, len(p.jobs))
	last, good := map[*Dispatcher]int{}, map[*Dispatcher]bool{}
	for i := len(p.jobs) - 1; i >= 0 && n > 0; i-- {
		e := &p.jobs[i]
		first := !good[e.dispatcher] && e.state == ipc.Succeeded
		p.floor[i] = last[e.dispatcher] < n || first && (p.keep.Count == 0 || p.keep.Count > n)
		last[e.dispatcher]++
		good[e.dispatcher] = good[e.dispatcher] || first
	}
}

// forget takes a job out of the counts; sweep removes it.
func (p *pass) forget(i int) {
	p.drop[i] = true
	p.count(p.jobs[i].dispatcher, -1, -len(p.jobs[i].raw))
}

// tooOld forgets what is older than the bound.
func (p *pass) tooOld(now time.Duration) {
	if p.keep.Age <= 0 {
		return
	}
	oldest := seconds(now - p.keep.Age)
	for i := range p.jobs {
		if e := &p.jobs[i]; e.lived < oldest && (!p.floor[i] || e.dispatcher.Removed) {
			p.forget(i)
		}
	}
}

// tooMany forgets jobs of those dispatchers that have most, down to the bound.
func (p *pass) tooMany() {
	kept := 0
	for i := range p.jobs {
		if !p.drop[i] {
			kept++
		}
	}
	if p.keep.Count <= 0 || kept <= p.keep.Count {
		return
	}
	most := p.level(func(s share) int64 { return int64(s.count) }, int64(p.keep.Count-p.keep.Count/slackPart))
	for i := range p.jobs {
		if !p.drop[i] && !p.floor[i] && int64(p.jobs[i].dispatcher.kept.count) > most {
			p.forget(i)
		}
	}
}

// tooLarge cuts and forgets jobs of those dispatchers that take most, down to the
// bound.
func (p *pass) tooLarge() {
	if p.keep.Bytes <= 0 || p.bytes <= p.keep.Bytes {
		return
	}
	most := p.level(func(s share) int64 { return s.bytes }, p.keep.Bytes-p.keep.Bytes/slackPart)
	above := func(i int) bool { return !p.drop[i] && p.jobs[i].dispatcher.kept.bytes > most }
	for i := range p.jobs {
		if above(i) {
			p.cut(i, false)
		}
	}
	for i := range p.jobs {
		if above(i) && !p.floor[i] {
			p.forget(i)
		}
	}
	for i := range p.jobs {
		if above(i) {
			p.cut(i, true)
		}
	}
}

// cut leaves large arguments out of a job, and where that is not enough all else
// that is large.
func (p *pass) cut(i int, all bool) {
	e := &p.jobs[i]
	if e.small || len(e.raw) < largePart {
		return
	}
	j := e.job()
	if !cutArguments(j) && !all {
		return
	}
	if all {
		cutOutcome(j)
		e.small = true
	}
	raw, err := json.Marshal(j)
	if err != nil || len(raw) >= len(e.raw) {
		return
	}
	p.count(e.dispatcher, 0, len(raw)-len(e.raw))
	e.raw = raw
}

// cutArguments leaves large arguments out, and reports whether there were any.
func cutArguments(j *store.Job) bool {
	if len(j.Arguments) <= largePart {
		return false
	}
	j.Cut |= store.CutArguments
	// Not nothing: an earlier version, which does not know of the mark, would run a
	// retry without arguments.
	j.Arguments = json.RawMessage(`"(cut by the history)"`)
	return true
}

// cutOutcome leaves out what else is large in a job.
func cutOutcome(j *store.Job) {
	if j.Run == nil {
		return
	}
	run := *j.Run
	if len(run.Result) > largePart {
		run.Result = nil
		j.Cut |= store.CutResult
	}
	if run.Error != nil && len(run.Error.Detail) > largePart {
		why := *run.Error
		why.Detail = nil
		run.Error = &why
	}
	j.Run = &run
}

// sweep removes what was forgotten, and lists it.
func (p *pass) sweep() (gone []ulid.ULID) {
	kept := p.jobs[:0]
	for i, e := range p.jobs {
		if p.drop[i] {
			gone = append(gone, e.id)
		} else {
			kept = append(kept, e)
		}
	}
	clear(p.jobs[len(kept):])
	p.jobs = kept
	return gone
}

// level is how much of something each dispatcher may have at most.
func (p *pass) level(of func(share) int64, bound int64) int64 {
	shares := map[*Dispatcher]int64{}
	for i := range p.jobs {
		d := p.jobs[i].dispatcher
		shares[d] = of(d.kept)
	}
	return store.Level(slices.Collect(maps.Values(shares)), bound)
}

// seconds is a place on a timeline as records have it.
func seconds(d time.Duration) int64 { return int64(max(0, d) / time.Second) }

// Logs says of each job that may have an output whose it is, and what is to stay.
// What is not in it is of a job that nobody knows, or came after last.
func (s *State) Logs() (owners map[ulid.ULID]store.LogOwner, last ulid.ULID) {
	owners = make(map[ulid.ULID]store.LogOwner, len(s.archive.jobs))
	p := &pass{archive: &s.archive}
	p.markFloor(p.floorOf())
	for i := range s.archive.jobs {
		e := &s.archive.jobs[i]
		owners[e.id] = store.LogOwner{Dispatcher: e.dispatcher.Name, Floor: p.floor[i]}
	}
	for id, j := range s.jobs {
		if j.state.Attempt > 0 { // or it has printed nothing
			owners[id] = store.LogOwner{Dispatcher: j.state.Dispatcher, Open: true}
		}
	}
	return owners, s.lastID
}
