// Package schedules decides what is due, and what becomes of it. The daemon
// does the deeds: it looks for packages, submits jobs, writes the journal.
//
// It reads no clock and has no goroutine. A Planner belongs to one goroutine,
// the daemon's loop, which owns the state that Admit is told about. A due time
// goes through four steps:
//
//  1. Planner.Next says how long the loop may sleep; a minute at most, so that
//     a step of the clock is noticed.
//  2. Planner.Due gives what is due, one Due a dispatcher. Its occurrences are in
//     the order of their due times. One that could not be journaled before
//     comes first: the caller passes it in, once the journal works again.
//  3. Where one of them asks for a run (Due.WantsRun), the caller finds out
//     whether the dispatcher is fit for it. That asks the package manager, so it
//     happens outside of the loop.
//  4. On the loop again, the caller asks Admit about each occurrence, in order,
//     and performs the Decision before it asks about the next one: a job that is
//     submitted, or refused, moves the Cursor that the next Admit reads.
//
// What is durable when: Decision.Cursor goes into the same record of the journal
// as the job that the occurrence led to, or into a record of its own where it
// led to none, or to a job that is written nowhere. So no crash loses a due time,
// and none doubles it. Where that record fails, the caller puts the old Cursor
// back, keeps Deferred(occurrence) and passes it to Due when the journal works.
//
// A Cursor counts for one plan: the texts of the schedule and its zone. What was
// due by another plan means nothing, so a changed schedule begins anew.
package schedules
