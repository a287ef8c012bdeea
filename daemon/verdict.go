package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// judge turns the end of a child into the job's state and outcome.
func (s *state) judge(r *run, exit proc.Exit) (ipc.State, *store.Outcome) {
	out := &store.Outcome{
		StartedAt: exit.Started.UnixNano(), EndedAt: exit.Ended.UnixNano(),
		Result: exit.Result, Progress: exit.Progress, Signal: exit.Signal,
	}
	size := s.dir.LogSize(r.job.ID)
	out.Output = ipc.Output{Bytes: size, Dropped: max(0, size-r.spec.MaxOutput)}
	if out.Output.Dropped > 0 {
		_ = s.dir.TrimLog(r.job.ID, size, r.spec.MaxOutput)
	}
	if exit.Exited() {
		out.ExitCode = new(exit.Code)
	}
	state, why := verdict(r, exit, s.stopping)
	out.Error = why
	return state, out
}

// verdict names the state in which an attempt ended, and why.
func verdict(r *run, exit proc.Exit, stopping bool) (ipc.State, *ipc.JobError) {
	why := func(k ipc.Kind, format string, args ...any) *ipc.JobError {
		return &ipc.JobError{Kind: k, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case r.canceled:
		return ipc.Canceled, why(ipc.KindCanceled, "canceled while it ran")
	case exit.SupervisorLost:
		return ipc.Interrupted, why(ipc.KindInterrupted, "its supervisor was killed while it ran, and its end is not known")
	case exit.Err != nil:
		kind := ipc.KindStartFailed
		if p, ok := errors.AsType[*ipc.Error](exit.Err); ok {
			kind = p.Kind
		}
		return ipc.Failed, why(kind, "%v", exit.Err)
	case stopping && exit.Canceled:
		return ipc.Interrupted, why(ipc.KindInterrupted, "the daemon was stopped while it ran")
	case exit.Canceled && r.spec.SurviveRestart: // by an earlier daemon, for somebody
		return ipc.Canceled, why(ipc.KindCanceled, "canceled while it ran")
	case exit.Canceled:
		return ipc.Interrupted, why(ipc.KindInterrupted, "the daemon went down while it ran")
	case exit.TimedOut:
		return ipc.TimedOut, why(ipc.KindTimeout, "ran longer than its timeout of %s", time.Duration(r.spec.Timeout))
	case exit.Signal != "":
		return ipc.Failed, why(ipc.KindSignaled, "ended by signal %s", exit.Signal)
	case !slices.Contains(r.spec.SuccessExitCodes, exit.Code):
		said := why(ipc.KindExitStatus, "exit status %d%s", exit.Code, ownWords(exit.Failure))
		said.Detail = exit.Failure
		return ipc.Failed, said
	}
	return ipc.Succeeded, nil
}

// ownWords is what a failed job said of itself, for people: the error is a text,
// or an object with one in message.
func ownWords(failure json.RawMessage) string {
	var text string
	var object struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(failure, &text) != nil && json.Unmarshal(failure, &object) == nil {
		text = object.Message
	}
	if text = strings.Join(strings.Fields(text), " "); text == "" {
		return ""
	}
	if len(text) > maxOwnWords {
		text = strings.ToValidUTF8(text[:maxOwnWords], "") + "…"
	}
	return ": " + text
}

// maxOwnWords bounds them: the whole text is in the error's detail.
const maxOwnWords = 500
