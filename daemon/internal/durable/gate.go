package durable

// Phase says what is known of the records that passed a gate.
type Phase uint8

// The phases of a gate.
const (
	Durable Phase = iota // each is as durable as was asked for; so is a gate that none passed
	Writing              // the journal has not answered for all of them
	Failed               // the last answer was an error: only the next whole journal holds it
)

// String is for messages and tests.
func (p Phase) String() string {
	return [...]string{"durable", "writing", "failed"}[p]
}

// Gate keeps back what depends on records that are on their way to the disk.
// The zero value is Durable. It belongs to one goroutine.
//
// Records are counted, for an acceptance and a start of the same job may be
// under way together. The last answer decides whether the gate is Failed: after
// an answer that says that the journal is broken, no record is written before a
// whole journal was, and that holds all that failed. A record that was refused
// for want of space alone may be followed by a good one: its caller was told of
// the refusal, and others need not wait for a disk with space.
type Gate struct {
	writing int
	failed  error
	waiting []waiter
}

// waiter is called when the gate has settled. One that wants certainty is not
// called while the gate is Failed, and stays.
type waiter struct {
	fn      func(error)
	certain bool
}

// Begin counts a record that was given to the journal.
func (g *Gate) Begin() { g.writing++ }

// End takes the journal's answer for one record, nil = it is durable.
func (g *Gate) End(err error) {
	if g.writing == 0 {
		panic("durable: End without Begin")
	}
	g.writing--
	g.failed = err
	if g.writing == 0 {
		g.settle()
	}
}

// Saved says that a whole journal holds what failed.
func (g *Gate) Saved() {
	if g.failed == nil {
		return
	}
	g.failed = nil
	if g.writing == 0 {
		g.settle()
	}
}

// Phase gives the present phase.
func (g *Gate) Phase() Phase {
	switch {
	case g.writing > 0:
		return Writing
	case g.failed != nil:
		return Failed
	}
	return Durable
}

// Settled calls fn once the journal has answered for every record, with the
// error of a Failed gate: at once unless the gate is Writing.
func (g *Gate) Settled(fn func(error)) {
	if g.writing == 0 {
		fn(g.failed)
		return
	}
	g.waiting = append(g.waiting, waiter{fn: fn})
}

// OnDurable calls fn the next time that the gate becomes Durable, never at once:
// so it may be called before the record is given to Log.Write. A gate that has
// Failed calls it when a whole journal was written.
func (g *Gate) OnDurable(fn func()) {
	g.waiting = append(g.waiting, waiter{fn: func(error) { fn() }, certain: true})
}

// Drop forgets what OnDurable was given, for a record that was withdrawn. What
// waits by Settled is still called.
func (g *Gate) Drop() {
	kept := g.waiting[:0]
	for _, w := range g.waiting {
		if !w.certain {
			kept = append(kept, w)
		}
	}
	clear(g.waiting[len(kept):])
	g.waiting, g.failed = kept, nil
}

// settle calls what waits. A callback may let a further record pass: what comes
// after it in the list was waiting before that record, and is called with the
// same answer.
func (g *Gate) settle() {
	list, err := g.waiting, g.failed
	g.waiting = nil
	for _, w := range list {
		if err != nil && w.certain {
			g.waiting = append(g.waiting, w)
			continue
		}
		w.fn(err)
	}
}
