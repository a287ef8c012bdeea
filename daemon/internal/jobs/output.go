package jobs

import (
	"encoding/json"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// hasOpenOutput reports whether something that an ended job left running had its
// output, when somebody looked last.
func hasOpenOutput(j *store.Job) bool { return j.Run != nil && j.Run.Output.Open }

// LookAtOutputs calls look for each ended job of which something that it left running
// had the output when somebody looked last, by age, and notes what it has printed by
// now. There is no record of it: after a restart whoever looks finds the same.
func LookAtOutputs(s *State, look func(*store.Job) ipc.Output) {
	for i := range s.archive.jobs {
		if e := &s.archive.jobs[i]; e.open {
			s.archive.setOutput(e, look)
		}
	}
}

// setOutput notes how much an ended job has printed by now.
func (a *archive) setOutput(e *archived, look func(*store.Job) ipc.Output) {
	j := e.job()
	if j.Run == nil {
		return // cannot be: it was read from JSON
	}
	j.Run.Output = look(j)
	raw, err := json.Marshal(j)
	if err != nil {
		return // cannot be: it was read from JSON
	}
	a.count(e.dispatcher, 0, len(raw)-len(e.raw))
	e.raw, e.open = raw, j.Run.Output.Open
}
