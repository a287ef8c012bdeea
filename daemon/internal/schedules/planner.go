package schedules

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// Cursor is where a schedule stands, as the journal's record says it.
type Cursor = store.Cursor

// Entry is a dispatcher as a plan needs it.
type Entry struct {
	Name   string
	Spec   *dispatchers.Spec
	Cursor *Cursor // nil = its schedule has never been dealt with
	Paused bool    // for View
}

// Due is what is due of one dispatcher, in the order of due times.
type Due struct {
	Dispatcher  string
	Occurrences []scheduler.Occurrence
}

// Planner knows what is due when.
type Planner struct {
	agenda scheduler.Agenda
	host   string
}

// New makes a Planner that knows no schedule. The host's name spreads jitter
// over the machines of a fleet.
func New(host string) *Planner { return &Planner{host: host} }

// Plan puts the schedules of all dispatchers in force, at the start and at each
// reload. It gives an error for each schedule that is not, because its zone has
// left the machine since the file was checked.
func (p *Planner) Plan(now scheduler.Now, entries iter.Seq[Entry]) []error {
	var faults []error
	var list []scheduler.Entry
	for e := range entries {
		if e.Spec == nil || len(e.Spec.Schedule) == 0 {
			continue
		}
		times, err := e.Spec.Times()
		if err != nil {
			faults = append(faults, fmt.Errorf("schedule of %s is not in force: %w", e.Name, err))
			continue
		}
		one := scheduler.Entry{
			Name: e.Name, Times: times, Offset: p.offset(e.Name, e.Spec),
			CatchUp: e.Spec.CatchUp, Max: e.Spec.MaxQueue,
		}
		if c := e.current(); c != nil {
			one.Last = time.Unix(0, c.Due)
		}
		list = append(list, one)
	}
	p.agenda.Set(now, list)
	return faults
}

// offset is the dispatcher's share of its jitter on this machine.
func (p *Planner) offset(name string, s *dispatchers.Spec) time.Duration {
	return scheduler.Offset(s.Jitter, p.host, name)
}

// current is the cursor if it belongs to the schedule that is in force.
func (e *Entry) current() *Cursor {
	if e.Cursor == nil || e.Cursor.Plan != planID(e.Spec) {
		return nil
	}
	return e.Cursor
}

// planID names a schedule.
func planID(s *dispatchers.Spec) string {
	return strings.TrimSpace(strings.Join(s.Schedule, ", ") + " " + s.Timezone)
}

// Due gives what is due now, by dispatcher, in the order of the first due times.
// What was deferred comes before all else; its dispatcher may be gone by now.
// Nothing due is the usual answer: the longest sleep is over.
func (p *Planner) Due(now scheduler.Now, deferred ...scheduler.Occurrence) []Due {
	var list []Due
	index := map[string]int{}
	for _, o := range append(deferred[:len(deferred):len(deferred)], p.agenda.Due(now)...) {
		i, known := index[o.Name]
		if !known {
			i = len(list)
			index[o.Name] = i
			list = append(list, Due{Dispatcher: o.Name})
		}
		list[i].Occurrences = append(list[i].Occurrences, o)
	}
	return list
}

// WantsRun reports whether one of the occurrences asks for a run.
func (d Due) WantsRun() bool {
	return slices.ContainsFunc(d.Occurrences, wantsRun)
}

// wantsRun reports whether an occurrence asks for a run, and is not only to be
// noted.
func wantsRun(o scheduler.Occurrence) bool {
	return o.Kind == scheduler.Run || o.Kind == scheduler.CaughtUp
}

// Deferred is the occurrence as it is to be passed to Due later: by then it is
// one to catch up.
func Deferred(o scheduler.Occurrence) scheduler.Occurrence {
	o.Kind = scheduler.CaughtUp
	return o
}

// Next is how long nothing is due. False: no dispatcher has a schedule.
func (p *Planner) Next(now scheduler.Now) (time.Duration, bool) { return p.agenda.Next(now) }

// View is how a dispatcher's schedule stands, with its next n times.
func (p *Planner) View(e Entry, n int) ipc.Schedule {
	v := ipc.Schedule{
		Dispatcher: e.Name, Schedule: e.Spec.Schedule, Timezone: e.Spec.Timezone,
		Jitter:  p.offset(e.Name, e.Spec).String(),
		CatchUp: string(e.Spec.CatchUp), Overlap: string(e.Spec.Overlap),
		Paused: e.Paused, Next: []time.Time{},
	}
	if s, ok := p.agenda.Of(e.Name, n); ok {
		v.Next = append(v.Next, s.Next...)
		if !s.Last.IsZero() {
			v.Last = new(s.Last)
		}
	}
	if c := e.current(); c != nil {
		v.Why, v.Missed, v.Refused = c.Why, c.Missed, c.Refused
	}
	return v
}
