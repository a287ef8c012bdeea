package queue

import "time"

// pending is where jobs wait that are not active: ready ones in the fifo of
// their dispatcher, delayed ones for their timer. It also knows whether anything
// happened that a scheduling pass has to look at.
type pending struct {
	timers timers
	dirty  bool // a pass may find something to start
	// obstacleCache is why candidates wait, nil = to be worked out. Each change
	// empties it, so that a list of 100,000 jobs costs one pass and not one a job.
	obstacleCache map[*job]obstacle
}

// change notes that the next pass has something to look at.
func (p *pending) change() {
	p.dirty = true
	p.obstacleCache = nil
}

// enqueueOrDelay gives a job its place when it was notified: the fifo, or
// debounce before it. A job that has run before is never debounced.
func (p *pending) enqueueOrDelay(now time.Duration, j *job) {
	if !j.started && j.d.rules.joins() {
		j.makeJoinable()
		if at := j.quiet(now); at > now {
			p.delay(j, debounce, at)
			return
		}
	}
	p.enqueue(j)
}

// enqueue puts a job into its dispatcher's fifo.
func (p *pending) enqueue(j *job) {
	j.state = ready
	j.d.fifo.add(j)
	p.arm(j)
	p.touch(j)
}

// delay puts a job aside until an instant.
func (p *pending) delay(j *job, s state, until time.Duration) {
	j.state, j.notBefore = s, until
	j.d.delayed++
	p.arm(j)
}

// leave takes a queued job out of wherever it waits.
func (p *pending) leave(j *job) {
	if j.state == ready {
		p.touch(j)
		j.d.fifo.drop(j)
	} else {
		j.d.delayed--
	}
	p.timers.clear(j)
}

// touch makes a pass due if a job is a candidate: then it may start itself, or
// what is behind it becomes one. Farther back a job changes nothing for anybody,
// and to accept it costs the same whatever the length of the queue.
func (p *pending) touch(j *job) {
	if i, _ := j.d.fifo.find(j.seq); i < j.d.window() {
		p.change()
	}
}

// arm sets a queued job's timer: its expiry or the end of its delay.
func (p *pending) arm(j *job) {
	at, ok := j.expiry()
	if j.state != ready && (!ok || j.notBefore < at) {
		at, ok = j.notBefore, true
	}
	if ok {
		p.timers.set(j, at)
	} else {
		p.timers.clear(j)
	}
}
