package queue

import "time"

// state is where a job is.
type state uint8

const (
	ready    state = iota // in its dispatcher's fifo
	debounce              // waits for quiet
	backoff               // waits for its next attempt
	starting              // has a Start that the owner has not answered
	running               // started
)

// String is the state as a StateError names it.
func (s state) String() string {
	return [...]string{ready: "ready", debounce: "debounce", backoff: "backoff", starting: "starting", running: "running"}[s]
}

// noSlot is the slot of a job without a timer.
const noSlot = -1

// job is one outstanding job. There may be 100,000 of them: 96 bytes.
type job struct {
	id        ID
	seq       uint64 // order of acceptance over all dispatchers
	d         *dispatcher
	locks     *lockset
	key       string
	accepted  time.Duration // later by each pause that it has waited through
	notBefore time.Duration // end of debounce or backoff
	since     time.Duration // of the Start; of a restored run, of its child
	attempt   int32         // attempts that have ended
	slot      int32         // in the timer heap
	state     state
	started   bool // ran before: no longer joinable, no longer expires
	joinable  bool // stands in its dispatcher's keys
	canceled  bool // active, and told to stop
}

// active says whether the job has a slot and its locks.
func (j *job) active() bool { return j.state >= starting }

// position is the job's place in its dispatcher's queue, from 1. A delayed job
// has the position that it would have now; an active one has the first.
func (j *job) position() int {
	if j.active() {
		return 1
	}
	i, _ := j.d.fifo.find(j.seq)
	return i + 1
}

// expiry is the instant at which a job has waited too long. In a pause there is none.
func (j *job) expiry() (time.Duration, bool) {
	limit := j.d.rules.QueueTimeout
	return j.accepted + limit, limit > 0 && !j.started && !j.d.paused
}

// quiet is the instant at which a job notified now may start: after the quiet
// time, and not later than the cap after its first notify.
func (j *job) quiet(now time.Duration) time.Duration {
	r := &j.d.rules
	longest := r.DebounceMax
	if longest <= 0 {
		longest = 10 * r.Debounce
	}
	return min(now+r.Debounce, j.accepted+longest)
}

// makeJoinable lets notifies with the same key join the job, if it has never
// started and no other job has the key.
func (j *job) makeJoinable() {
	if !j.started && j.d.rules.joins() && j.d.keys[j.key] == nil {
		j.d.keys[j.key], j.joinable = j, true
	}
}

// unkey makes the job no longer joinable.
func (j *job) unkey() {
	if j.joinable {
		delete(j.d.keys, j.key)
		j.joinable = false
	}
}
