//go:build linux && crash

package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// call is what somebody did to one dispatcher: submit with a key and an
// argument, take (a job starts), or end (it is over).
type call struct {
	what, key, argument string
	job                 string // of take and end
}

// reply is what came of a submit.
type reply struct {
	job  string
	full bool
}

// line is the whole state of a dispatcher, as one atomic object.
type line struct {
	queued  []string // "job argument", in order
	running []string
	keys    map[string]string
}

// modelOf is the sequential behaviour of a dispatcher.
func modelOf(r rule) porcupine.Model {
	return porcupine.Model{
		Init:  func() any { return line{} },
		Equal: func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) },
		Step: func(state, in, out any) (bool, any) {
			s, c := state.(line), in.(call)
			switch c.what {
			case "submit":
				return s.submit(r, c, out.(reply))
			case "take":
				return s.take(r, c.job)
			}
			return s.end(c.job)
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
	}
}

// submit: a known key gives its job; with coalesce an equal queued one is
// joined; else there is room, or there is not.
func (s line) submit(r rule, c call, out reply) (bool, any) {
	if job, known := s.keys[c.key]; known {
		return !out.full && out.job == job, s
	}
	if i := slices.IndexFunc(s.queued, func(q string) bool { return strings.HasSuffix(q, " "+c.argument) }); r.coalesce && i >= 0 {
		job, _, _ := strings.Cut(s.queued[i], " ")
		return !out.full && out.job == job, s.keyed(c.key, job)
	}
	if len(s.queued)+len(s.running) >= r.queue {
		return out.full, s
	}
	next := s.keyed(c.key, out.job)
	next.queued = append(slices.Clone(s.queued), out.job+" "+c.argument)
	for _, job := range s.keys {
		if job == out.job {
			return false, s // a new key has a new job
		}
	}
	return !out.full, next
}

// keyed is the state with one more key.
func (s line) keyed(key, job string) line {
	next := line{queued: s.queued, running: s.running, keys: map[string]string{key: job}}
	maps.Copy(next.keys, s.keys)
	return next
}

// take: the first in line starts where there is a free place.
func (s line) take(r rule, job string) (bool, any) {
	if len(s.queued) == 0 || !strings.HasPrefix(s.queued[0], job+" ") || len(s.running) >= max(1, r.concurrency) {
		return false, s
	}
	running := append(slices.Clone(s.running), job)
	slices.Sort(running)
	return true, line{queued: slices.Clone(s.queued[1:]), running: running, keys: s.keys}
}

// end: a running job is over.
func (s line) end(job string) (bool, any) {
	i := slices.Index(s.running, job)
	if i < 0 {
		return false, s
	}
	return true, line{queued: s.queued, running: slices.Delete(slices.Clone(s.running), i, i+1), keys: s.keys}
}
