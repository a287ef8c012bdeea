package daemon

import (
	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
)

// prune keeps history, keys and logs within their bounds after a job that left an
// output of which so much is kept. Nothing is done unless a bound is passed.
func (s *state) prune(kept int64) {
	if gone := s.jobs.Prune(s.timeline.Now()); len(gone) > 0 {
		go s.dir.RemoveLogs(gone)
	}
	if s.outputs.Add(kept) {
		owners, last := s.jobs.Logs()
		go s.enforceLogs(owners, last)
	}
}

// enforceLogs removes outputs until all are within their bound. A job that was
// accepted since the owners were listed is open.
func (h *host) enforceLogs(owners map[ulid.ULID]store.LogOwner, last ulid.ULID) {
	left := h.dir.EnforceLogs(h.settings.LogBytes, func(id ulid.ULID) store.LogOwner {
		if id.Compare(last) > 0 {
			return store.LogOwner{Open: true}
		}
		return owners[id]
	})
	h.post(func(s *state) { s.outputs.Counted(left) })
}
