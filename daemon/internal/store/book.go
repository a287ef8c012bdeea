package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// Retention bounds the history. 0 = no bound of that sort.
type Retention struct {
	Count int
	Age   time.Duration
	Bytes int64
}

// Key is an idempotency key.
type Key struct {
	UID             int
	Dispatcher, Key string
}

// keyLife is how long a key is kept at least: a day and an hour, so that a
// daily caller's repeat finds it.
const keyLife = 25 * time.Hour

// keyed is the job of an idempotency key.
type keyed struct {
	id   ulid.ULID
	hash string
	at   int64
}

// ended is one job of the history: what is filtered by, and the rest encoded.
type ended struct {
	id         ulid.ULID
	dispatcher string
	state      ipc.State
	created    int64
	ended      int64
	raw        []byte
	fresh      *Job // not yet encoded
}

// Book is the state that the journal's records add up to. One goroutine owns it.
type Book struct {
	keep    Retention
	seq     uint64
	open    map[ulid.ULID]*Job
	history []ended // by id
	bytes   int64
	fresh   []ulid.ULID // in the history, not yet encoded
	paused  map[string]bool
	keys    map[Key]keyed
	keysAt  time.Time // when to look for old keys again
	ticks   map[string]Tick
}

// NewBook makes an empty book.
func NewBook(keep Retention) *Book {
	return &Book{keep: keep, open: map[ulid.ULID]*Job{}, paused: map[string]bool{}, keys: map[Key]keyed{}, ticks: map[string]Tick{}}
}

// Apply folds one record into the book, live and at replay alike, and gives
// the job as it is now.
func (b *Book) Apply(r Record) (*Job, error) {
	switch r.Op {
	case OpPause:
		b.paused[r.Dispatcher] = true
		return nil, nil
	case OpResume:
		delete(b.paused, r.Dispatcher)
		return nil, nil
	case opKey:
		b.keys[Key{r.KeyUID, r.Dispatcher, r.Key}] = keyed{r.ID, r.ArgHash, r.At}
		return nil, nil
	case OpTick:
		b.tick(r.Dispatcher, r.Tick)
		return nil, nil
	case OpAccept, opDone:
		return b.add(r)
	}
	if !r.Op.ofJob() {
		return nil, fmt.Errorf("%w %q", errNewerOp, r.Op)
	}
	j := b.open[r.ID]
	if j == nil {
		return nil, fmt.Errorf("%s of job %s: %w", r.Op, r.ID, errOrphan)
	}
	next, err := j.with(r)
	if err != nil {
		return nil, err
	}
	b.remember(r, next)
	b.tick(next.Dispatcher, r.Tick)
	if next.State.Final() {
		delete(b.open, r.ID)
		b.file(next)
		return next, nil
	}
	b.open[r.ID] = next
	return next, nil
}

// add takes in a whole job.
func (b *Book) add(r Record) (*Job, error) {
	if r.Job == nil {
		return nil, fmt.Errorf("%s: without a job", r.Op)
	}
	if _, known := b.Job(r.Job.ID); known {
		return nil, fmt.Errorf("%s of job %s: %w", r.Op, r.Job.ID, errTwice)
	}
	if r.Op == opDone {
		b.file(r.Job)
		return r.Job, nil
	}
	j := *r.Job
	b.seq++
	j.Seq = b.seq
	b.open[j.ID] = &j
	b.remember(r, &j)
	b.tick(j.Dispatcher, r.Tick)
	return &j, nil
}

// remember keeps a record's idempotency key.
func (b *Book) remember(r Record, j *Job) {
	if r.Key != "" {
		b.keys[Key{r.KeyUID, j.Dispatcher, r.Key}] = keyed{j.ID, r.ArgHash, r.At}
	}
}

// maxFresh bounds the jobs that wait to be encoded.
const maxFresh = 32

// file puts an ended job into the history. It is encoded by settle: the next
// job's start need not wait for that.
func (b *Book) file(j *Job) {
	e := ended{id: j.ID, dispatcher: j.Dispatcher, state: j.State, created: j.CreatedAt, fresh: j}
	if j.Run != nil {
		e.ended = j.Run.EndedAt
	}
	if i, found := b.place(j.ID); found {
		b.bytes -= int64(len(b.history[i].raw))
		b.history[i] = e
	} else {
		b.history = slices.Insert(b.history, i, e)
	}
	if b.fresh = append(b.fresh, j.ID); len(b.fresh) == maxFresh {
		b.settle()
	}
}

// settle encodes what has come into the history.
func (b *Book) settle() {
	for _, id := range b.fresh {
		i, found := b.place(id)
		if !found || b.history[i].fresh == nil {
			continue // withdrawn, or filed twice
		}
		e := &b.history[i]
		raw, err := json.Marshal(e.fresh)
		if err != nil { // cannot be: it was read from JSON or made of valid parts
			b.history = slices.Delete(b.history, i, i+1)
			continue
		}
		e.raw, e.fresh = raw, nil
		b.bytes += int64(len(raw))
	}
	b.fresh = b.fresh[:0]
}

// place is where an id is, or would be, in the history.
func (b *Book) place(id ulid.ULID) (int, bool) {
	return slices.BinarySearchFunc(b.history, id, func(e ended, id ulid.ULID) int { return e.id.Compare(id) })
}

// job decodes a job of the history.
func (e *ended) job() *Job {
	if e.fresh != nil {
		return e.fresh
	}
	var j Job
	if json.Unmarshal(e.raw, &j) != nil {
		return &Job{ID: e.id, Dispatcher: e.dispatcher, State: e.state, CreatedAt: e.created}
	}
	return &j
}

// Job is an open or ended job.
func (b *Book) Job(id ulid.ULID) (*Job, bool) {
	if j := b.open[id]; j != nil {
		return j, true
	}
	if i, found := b.place(id); found {
		return b.history[i].job(), true
	}
	return nil, false
}

// Find is the job with an id, or with the only id that starts so.
func (b *Book) Find(prefix string) (*Job, error) {
	prefix = strings.ToUpper(prefix)
	if id, err := ulid.ParseStrict(prefix); err == nil {
		if j, ok := b.Job(id); ok {
			return j, nil
		}
	}
	unknown := ipc.Errorf(ipc.KindJobUnknown, "no job has the id %.40q", prefix)
	unknown.Suggestion = "see: dispatchctl jobs"
	if prefix == "" || len(prefix) >= ulid.EncodedSize {
		return nil, unknown
	}
	var found []ulid.ULID
	for id := range b.open {
		if strings.HasPrefix(id.String(), prefix) {
			found = append(found, id)
		}
	}
	for i := range b.history {
		if len(found) < 3 && strings.HasPrefix(b.history[i].id.String(), prefix) {
			found = append(found, b.history[i].id)
		}
	}
	switch len(found) {
	case 0:
		return nil, unknown
	case 1:
		j, _ := b.Job(found[0])
		return j, nil
	}
	p := ipc.Errorf(ipc.KindJobAmbiguous, "several jobs have an id that starts with %q", prefix)
	p.Suggestion = "give more of it"
	return nil, p
}

// Open lists the open jobs in order of acceptance.
func (b *Book) Open() []*Job {
	return slices.SortedFunc(maps.Values(b.open), func(x, y *Job) int { return cmp.Compare(x.Seq, y.Seq) })
}

// OpenCount counts the open jobs.
func (b *Book) OpenCount() int { return len(b.open) }

// History counts the ended jobs.
func (b *Book) History() int { return len(b.history) }

// LastID is the greatest id of a job that is known.
func (b *Book) LastID() ulid.ULID {
	var last ulid.ULID
	if n := len(b.history); n > 0 {
		last = b.history[n-1].id
	}
	for id := range b.open {
		if id.Compare(last) > 0 {
			last = id
		}
	}
	return last
}

// Paused lists the paused dispatchers by name.
func (b *Book) Paused() []string { return slices.Sorted(maps.Keys(b.paused)) }

// Key finds the job of an idempotency key.
func (b *Book) Key(k Key) (ulid.ULID, string, bool) {
	v, ok := b.keys[k]
	return v.id, v.hash, ok
}

// Forget withdraws an accepted job, also one that was canceled meanwhile.
func (b *Book) Forget(id ulid.ULID) {
	delete(b.open, id)
	if i, found := b.place(id); found {
		b.bytes -= int64(len(b.history[i].raw))
		b.history = slices.Delete(b.history, i, i+1)
	}
	maps.DeleteFunc(b.keys, func(_ Key, v keyed) bool { return v.id == id })
}

// List gives jobs, newest first.
func (b *Book) List(f ipc.JobFilter) []*Job {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 1000)
	before := bytes.Repeat([]byte{0xff}, 16)
	if id, err := ulid.ParseStrict(strings.ToUpper(f.Before)); err == nil {
		before = id[:]
	}
	fits := func(id ulid.ULID, d string, s ipc.State, created int64) bool {
		return (f.Dispatcher == "" || f.Dispatcher == d) && (f.State == "" || f.State == s) &&
			(f.Since.IsZero() || !time.Unix(0, created).Before(f.Since)) && bytes.Compare(id[:], before) < 0
	}
	var list []*Job
	for _, j := range b.open {
		if fits(j.ID, j.Dispatcher, j.State, j.CreatedAt) {
			list = append(list, j)
		}
	}
	for n, i := 0, len(b.history)-1; i >= 0 && n < limit; i-- {
		if e := &b.history[i]; fits(e.id, e.dispatcher, e.state, e.created) {
			list = append(list, e.job())
			n++
		}
	}
	slices.SortFunc(list, func(x, y *Job) int { return y.ID.Compare(x.ID) })
	return list[:min(limit, len(list))]
}

// Prune keeps history and keys within their bounds, and lists the jobs that it
// forgot. The oldest go first.
func (b *Book) Prune(now time.Time) []ulid.ULID {
	b.settle()
	var gone []ulid.ULID
	oldest := now.Add(-b.keep.Age).UnixNano()
	n := 0
	for ; n < len(b.history); n++ {
		e := &b.history[n]
		over := (b.keep.Count > 0 && len(b.history)-n > b.keep.Count) || (b.keep.Bytes > 0 && b.bytes > b.keep.Bytes) ||
			(b.keep.Age > 0 && e.created < oldest)
		if !over {
			break
		}
		gone = append(gone, e.id)
		b.bytes -= int64(len(e.raw))
	}
	if n == 0 {
		return nil
	}
	clear(b.history[:n])
	b.history = b.history[n:] // those that stay are moved when it grows, not at each end
	b.pruneKeys(now)
	return gone
}

// keysEvery is how often old keys are looked for: all are looked at.
const keysEvery = 10 * time.Minute

// pruneKeys forgets keys that are old and whose job is gone.
func (b *Book) pruneKeys(now time.Time) {
	if now.Before(b.keysAt) {
		return
	}
	b.keysAt = now.Add(keysEvery)
	old := now.Add(-keyLife).UnixNano()
	maps.DeleteFunc(b.keys, func(_ Key, v keyed) bool {
		if v.at >= old {
			return false
		}
		_, known := b.Job(v.id)
		return !known
	})
}
