package queue

import "time"

// timers is a heap of the instants at which a queued job expires or becomes
// ready, one entry a job: the earlier of the two. Each job knows its slot, so
// an entry is taken out as soon as the job starts. Lazy removal would keep the
// jobs of the last queue_timeout alive: 600,000 at 2,000 a second.
type timers struct {
	heap []timer
}

// timer is one entry.
type timer struct {
	at  time.Duration
	job *job
}

// before orders entries; acceptance breaks ties, so that equal input gives
// equal output.
func (t *timers) before(a, b int) bool {
	x, y := t.heap[a], t.heap[b]
	return x.at < y.at || x.at == y.at && x.job.seq < y.job.seq
}

// next is the earliest entry.
func (t *timers) next() (timer, bool) {
	if len(t.heap) == 0 {
		return timer{}, false
	}
	return t.heap[0], true
}

// set gives a job its instant, in place of the one it had.
func (t *timers) set(j *job, at time.Duration) {
	if j.slot == noSlot {
		j.slot = int32(len(t.heap))
		t.heap = append(t.heap, timer{at, j})
	} else {
		t.heap[j.slot].at = at
	}
	t.fix(int(j.slot))
}

// clear takes a job's entry out.
func (t *timers) clear(j *job) {
	if j.slot == noSlot {
		return
	}
	i, last := int(j.slot), len(t.heap)-1
	t.swap(i, last)
	t.heap[last] = timer{}
	t.heap = t.heap[:last]
	j.slot = noSlot
	if i < last {
		t.fix(i)
	}
	if last == 0 && cap(t.heap) > shrinkAt {
		t.heap = nil // what was long once does not stay big
	}
}

// fix restores the order around one entry.
func (t *timers) fix(i int) {
	for i > 0 && t.before(i, (i-1)/2) {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.heap); child++ {
			if t.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

// swap exchanges two entries and keeps their jobs' slots true.
func (t *timers) swap(a, b int) {
	t.heap[a], t.heap[b] = t.heap[b], t.heap[a]
	t.heap[a].job.slot, t.heap[b].job.slot = int32(a), int32(b)
}
