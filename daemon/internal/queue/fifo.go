package queue

import (
	"cmp"
	"slices"
)

// fifo is a dispatcher's ready jobs, sorted by acceptance. The head moves on
// instead of the jobs, so that both ends cost the same at any length; the
// middle (cancel, retry) costs one memmove.
type fifo struct {
	jobs []*job
	head int
}

// shrinkAt is the length of dead head from which a fifo is moved down, and the
// room that an empty fifo or heap may keep.
const shrinkAt = 64

// len is how many jobs are in the fifo.
func (l *fifo) len() int { return len(l.jobs) - l.head }

// at is the i-th job.
func (l *fifo) at(i int) *job { return l.jobs[l.head+i] }

// find gives the index that seq has, or would have.
func (l *fifo) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(l.jobs[l.head:], seq, func(j *job, s uint64) int { return cmp.Compare(j.seq, s) })
}

// add puts a job at its place. Nearly always that is the end; a job that comes
// back from a retry goes near the front, where there is mostly room.
func (l *fifo) add(j *job) {
	if l.len() == 0 || l.at(l.len()-1).seq < j.seq {
		l.jobs = append(l.jobs, j)
		return
	}
	i, _ := l.find(j.seq)
	if l.head > 0 && i < l.len()/2 {
		copy(l.jobs[l.head-1:], l.jobs[l.head:l.head+i])
		l.head--
		l.jobs[l.head+i] = j
		return
	}
	l.jobs = slices.Insert(l.jobs, l.head+i, j)
}

// drop takes a job out.
func (l *fifo) drop(j *job) {
	i, ok := l.find(j.seq)
	if !ok {
		return
	}
	if i < l.len()/2 || i == 0 {
		copy(l.jobs[l.head+1:], l.jobs[l.head:l.head+i])
		l.jobs[l.head] = nil // the array must not keep the job alive
		l.head++
	} else {
		l.jobs = slices.Delete(l.jobs, l.head+i, l.head+i+1)
	}
	l.shrink()
}

// shrink gives the room of a long dead head back. It moves at most as many
// jobs as were dropped since the last time, so it costs nothing on average.
func (l *fifo) shrink() {
	switch {
	case l.len() == 0:
		l.head, l.jobs = 0, l.jobs[:0]
		if cap(l.jobs) > shrinkAt {
			l.jobs = nil
		}
	case l.head > shrinkAt && l.head > len(l.jobs)/2:
		// A new array, so that a queue that was long once does not stay big.
		l.jobs, l.head = slices.Clone(l.jobs[l.head:]), 0
	}
}
