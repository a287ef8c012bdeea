package daemon

import (
	"cmp"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// logQuery says how a job's output is to be read: by the bound that held for it,
// whatever its definition says now.
func logQuery(job *jobs.Job, from int64) store.LogQuery {
	q := store.LogQuery{From: from}
	last := job.Told().Run
	switch {
	case job.Attempt != nil && job.Spec != nil:
		q.Max, q.Printed = job.Spec.MaxOutput, true
	case last == nil:
	default:
		out := last.Output
		q.Printed = out.Bytes > 0
		switch left := out.Dropped - out.Lost; {
		case out.Open:
			q.Max = boundOf(last)
		case left > 0:
			q.Max = out.Bytes - out.Dropped
		}
	}
	return q
}

// boundOf is the bound of an output to which more may come.
func boundOf(o *store.Outcome) int64 { return cmp.Or(o.MaxOutput, dispatchers.DefaultMaxOutput) }

// keptOf is how much of an output is, or may come to be, on disk.
func keptOf(o *store.Outcome) int64 {
	kept := o.Output.Bytes - o.Output.Dropped
	if o.Output.Open {
		return max(kept, boundOf(o))
	}
	return kept
}

// leftOutput is what an ended job, and what it left running, has printed by now. That
// somebody can still print is the kernel's word, by the lock of who reads it: so it is
// true after a restart, an upgrade and a crash as well.
func (s *state) leftOutput(job *store.Job) ipc.Output {
	out := job.Run.Output
	out.Open = s.dir.LogHeld(job.ID)
	if size := s.dir.LogSize(job.ID); size+out.Lost > out.Bytes {
		out.Bytes = size + out.Lost
		out.Dropped = out.Lost + max(0, size-boundOf(job.Run))
	}
	return out
}

// openOutputs lists the outputs of ended jobs to which somebody can still print, and
// forgets those that have come to their end.
func (s *state) openOutputs() []ipc.OpenOutput {
	list := []ipc.OpenOutput{}
	jobs.LookAtOutputs(s.jobs, func(job *store.Job) ipc.Output {
		out := s.leftOutput(job)
		if out.Open {
			v := job.View()
			list = append(list, ipc.OpenOutput{Job: v.ID, Dispatcher: v.Dispatcher, EndedAt: v.EndedAt, Output: out})
		}
		return out
	})
	return list
}
