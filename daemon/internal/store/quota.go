package store

// Quota knows about what all outputs take of the disk together, so that they
// need not be counted at each job's end: with ten thousand jobs in the history
// that is as many calls. One goroutine owns it.
type Quota struct {
	total   int64 // the bound; 0 = none
	counted int64 // what they took when they were counted
	fresh   int64 // what was added since
	known   bool
	busy    bool // they are being counted
}

// NewQuota makes a quota of outputs that were not counted yet.
func NewQuota(total int64) *Quota { return &Quota{total: total} }

// slack is the part of the bound that may come on top before the outputs are
// counted and cut again.
const slack = 64

// Add notes a new output and reports whether the outputs are to be counted and
// cut now. The caller does that and tells by Counted.
func (q *Quota) Add(bytes int64) bool {
	q.fresh += (bytes + page - 1) / page * page
	over := q.counted+q.fresh > q.total && q.fresh >= q.total/slack
	if q.total <= 0 || q.busy || q.known && !over {
		return false
	}
	q.busy, q.fresh = true, 0
	return true
}

// Counted notes what the outputs take after a count.
func (q *Quota) Counted(bytes int64) { q.counted, q.known, q.busy = bytes, true, false }
