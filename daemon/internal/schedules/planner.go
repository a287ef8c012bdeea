package schedules

import (
	"cmp"
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
	zones  *scheduler.Zones

	planned  []zone        // in which the schedules in force are meant
	faults   []fault       // schedules that are not in force
	lookedAt time.Duration // when the zones were looked at last
}

// zone is one that schedules in force are meant in; "" = the machine's.
type zone struct {
	name string
	loc  *time.Location
	err  error // its file has gone since, and the last good one counts
}

// fault is why a dispatcher's schedule is not in force.
type fault struct{ dispatcher, why string }

// lookEvery is how often the files of the time zones are looked at: as often as the
// clock is, so that it costs no wake-up of its own.
const lookEvery = time.Minute

// New makes a Planner that knows no schedule. host names the machine for good, and
// spreads jitter over the machines of a fleet.
func New(host string, zones *scheduler.Zones) *Planner { return &Planner{host: host, zones: zones} }

// Plan puts the schedules of all dispatchers in force, at the start and at each
// reload. It gives an error for each schedule that is not, and for each zone whose
// file has gone: its last good one stays in force.
func (p *Planner) Plan(now scheduler.Now, entries iter.Seq[Entry]) []error {
	var list []scheduler.Entry
	p.planned, p.faults, p.lookedAt = nil, nil, now.Mono
	for e := range entries {
		if e.Spec == nil || len(e.Spec.Schedule) == 0 {
			continue
		}
		z := p.zone(e.Spec.Timezone)
		if z.loc == nil {
			p.faults = append(p.faults, fault{e.Name, "timezone: " + z.err.Error()})
			continue
		}
		times, err := e.Spec.Times(z.loc)
		if err != nil {
			p.faults = append(p.faults, fault{e.Name, err.Error()})
			continue
		}
		one := scheduler.Entry{
			Name: e.Name, Times: times, Offset: p.Offset(e.Name, e.Spec),
			CatchUp: e.Spec.CatchUp, Max: e.Spec.MaxQueue,
		}
		if c := e.current(); c != nil {
			one.Last = time.Unix(0, c.Due)
			if c.Out != 0 {
				one.Out = time.Unix(0, c.Out)
			}
		}
		list = append(list, one)
	}
	p.agenda.Set(now, list)
	return p.problems()
}

// problems words what of the last Plan is not as the definitions say.
func (p *Planner) problems() []error {
	var list []error
	for _, f := range p.faults {
		list = append(list, fmt.Errorf("schedule of %s is not in force: %s", f.dispatcher, f.why))
	}
	for _, z := range p.planned {
		switch {
		case z.err == nil || z.loc == nil: // the latter is a fault of each schedule
		case z.name == "":
			list = append(list, z.err)
		default:
			list = append(list, fmt.Errorf("timezone: %w; schedules keep the rules that it had", z.err))
		}
	}
	return list
}

// zone finds the zone of a name, once for all schedules that are meant in it.
func (p *Planner) zone(name string) zone {
	if i := slices.IndexFunc(p.planned, func(z zone) bool { return z.name == name }); i >= 0 {
		return p.planned[i]
	}
	z := p.read(name)
	p.planned = append(p.planned, z)
	return z
}

// read is a zone as its files say it now.
func (p *Planner) read(name string) zone {
	z := zone{name: name}
	if name == "" {
		z.loc, z.err = p.zones.Local()
	} else {
		z.loc, z.err = p.zones.Of(name)
	}
	return z
}

// Look looks, once a minute at most, whether the zone of a schedule in force is
// another than when it was planned: the machine's own was changed, or a package
// brought new rules. The caller calls Plan then. A file that has only gone changes
// nothing; that it has is told once.
func (p *Planner) Look(now scheduler.Now) (changed bool, gone []error) {
	if len(p.planned) == 0 || now.Mono-p.lookedAt < lookEvery {
		return false, nil
	}
	p.lookedAt = now.Mono
	for i, was := range p.planned {
		is := p.read(was.name)
		changed = changed || is.loc != was.loc
		if was.err == nil && is.err != nil {
			gone = append(gone, fmt.Errorf("time zone: %w", is.err))
		}
		p.planned[i].err = is.err
	}
	return changed, gone
}

// LocalZone names the machine's zone as schedules that name none are meant, "" =
// there are none, and says what is wrong with it.
func (p *Planner) LocalZone() (string, error) {
	for _, z := range p.planned {
		if z.name == "" && z.loc != nil {
			return z.loc.String(), z.err
		}
	}
	return "", nil
}

// Offset is the dispatcher's share of its jitter on this machine.
func (p *Planner) Offset(name string, s *dispatchers.Spec) time.Duration {
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
	offset := p.Offset(e.Name, e.Spec)
	v := ipc.Schedule{
		Dispatcher: e.Name, Schedule: e.Spec.Schedule, Timezone: e.Spec.Timezone,
		Jitter:  offset.String(),
		CatchUp: string(e.Spec.CatchUp), Overlap: string(e.Spec.Overlap),
		Paused: e.Paused, Next: []time.Time{},
	}
	v.Fault = p.Fault(e.Name)
	if s, ok := p.agenda.Of(e.Name, n); ok {
		if s.Suspended {
			v.Fault = "the machine's clock cannot be right; nothing but @every is due until it is set"
		}
		for _, at := range s.Next {
			v.Next = append(v.Next, at.UTC()) // as all times of the API are
		}
	}
	c := e.current()
	if c == nil {
		return v
	}
	v.Why, v.Missed, v.MissedMore, v.Refused, v.Skipped = c.Why, c.Missed, c.More, c.Refused, c.Skipped
	v.Last, v.LastSkipped = instant(c.LastRan(int64(offset))), instant(c.SkippedAt)
	if c.Why != "" {
		v.WhyDue = instant(cmp.Or(c.WhyDue, c.Due+int64(offset)))
	}
	return v
}

// Fault is why a dispatcher's schedule is not in force, "" = it is, or there is
// none.
func (p *Planner) Fault(name string) string {
	for _, f := range p.faults {
		if f.dispatcher == name {
			return f.why
		}
	}
	return ""
}

// instant is a time of a cursor, nil = there is none.
func instant(nanoseconds int64) *time.Time {
	if nanoseconds == 0 {
		return nil
	}
	return new(time.Unix(0, nanoseconds))
}
