package store

import (
	"encoding/json"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// Op says what a record changes.
type Op string

// The operations of the journal.
const (
	OpAccept  Op = "accept"
	OpJoin    Op = "join"
	OpStart   Op = "start"
	OpRequeue Op = "requeue"
	OpEnd     Op = "end"
	OpPause   Op = "pause"
	OpResume  Op = "resume"
	OpCursor  Op = "tick"  // what became of a due time that led to no job, and of all in a snapshot
	OpDone    Op = "done"  // an ended job in a snapshot
	OpKey     Op = "key"   // an idempotency key in a snapshot
	opHead    Op = "head"  // first line of a file
	opBase    Op = "base"  // the snapshot at the file's beginning is whole
	opClose   Op = "close" // the file was closed in order and ends here
)

// Everything is the name under which a drain is written: it is a pause of all that
// comes. No dispatcher can have it, and a version that does not know it keeps it.
const Everything = "*"

// Record is one change, one line of the journal. Lines are numbered without a
// gap, so that one that is missing or there twice is noticed. A batch is what
// may be on its way to the disk together: a new one begins only after all of
// the last one was synced.
type Record struct {
	Batch      uint64        `json:"b"`           // number of the batch's first line
	Index      uint64        `json:"i,omitempty"` // place in the batch
	Op         Op            `json:"op"`
	ID         ulid.ULID     `json:"id,omitzero"`
	At         int64         `json:"at,omitempty"`
	Job        *Job          `json:"job,omitempty"`
	By         *ipc.Notifier `json:"by,omitempty"`
	Attempt    int32         `json:"n,omitempty"`
	NotBefore  int64         `json:"nb,omitempty"`
	State      ipc.State     `json:"s,omitempty"`
	Run        *Outcome      `json:"run,omitempty"`
	Epoch      string        `json:"ep,omitempty"`
	Dispatcher string        `json:"d,omitempty"`
	Key        string        `json:"key,omitempty"`
	KeyUID     int           `json:"uid,omitempty"`
	ArgHash    string        `json:"hash,omitempty"`
	Cursor     *Cursor       `json:"tick,omitempty"` // with the job that it led to, so that no crash comes between
	Extra
	head

	raw json.RawMessage // the job of opDone, as it is kept
}

// Extra is what later versions added: earlier ones ignore it.
type Extra struct {
	Lived     int64           `json:"el,omitempty"`   // Timeline.Lived then, 0 = of an earlier version
	Arguments json.RawMessage `json:"args,omitempty"` // that a joined notify brings
	Undo      bool            `json:"-"`              // takes such a join back; never written
}

// head is what the first line of a journal says beside that.
type head struct {
	Format int    `json:"format,omitempty"`
	Store  string `json:"store,omitempty"`
	Base   uint64 `json:"base,omitempty"` // number of the line that ends the snapshot
	Moment moment `json:"moment,omitzero"`
}

// number is the line's own.
func (r Record) number() uint64 { return r.Batch + r.Index }

// perLine is about how many bytes a line takes beside what room counts.
const perLine = 400

// room is about how many bytes the record's line takes.
func (r *Record) room() int {
	n := perLine + len(r.raw) + len(r.Arguments)
	if r.Job != nil {
		n += len(r.Job.Arguments)
	}
	return n
}
