// Package scheduler says when a dispatcher is due.
//
// Parse reads a schedule as a dispatcher's file writes it and never panics;
// Next computes its times. robfig/cron reads the five fields and finds the next
// match, but only ever on a wall clock without time zones: the mapping from the
// wall to real time is ours, so that daylight saving loses nothing and repeats
// nothing. Agenda holds the schedules of all dispatchers, and what of them was
// dealt with. It is data: its owner reads the clocks, sleeps as long as Next says,
// which is never more than a minute, and asks Due. No clock is read here; Zones
// alone reads files, those of time zones.
//
// There are two sorts of schedules. Times of day name an hour, as in daily or
// "*/5 2 * * *". Intervals do not: hourly, "*/15 * * * *", and @every.
//
// # Daylight saving
//
//   - A time of day that does not exist (spring) runs at the first instant after
//     the gap; one that exists twice (autumn) runs once, at its first occurrence.
//   - An interval runs in every hour that passes, in the repeated one too.
//   - @every counts real time from its last run, in whole seconds.
//
// # The daemon was down
//
// Last is the due time that was dealt with last: run, refused or left out. It
// is kept with each Occurrence, and given back at the start. What was due after
// it and should have fired by now was missed: None leaves it out (an Occurrence
// of kind Skipped says so), Latest runs once, All the latest Max of them in
// order. An occurrence fires Offset after it is due, so a restart in between
// misses nothing. @every goes on from Last with its phase; in a list with
// others, from the last run of any of them. An entry without Last begins now,
// with a Begun. So does one whose Times are changed by a reload, or whose zone has
// other rules than before.
//
// Nothing is missed while an entry is not in force. One that comes with a later Set
// begins then. One whose Out says since when it was not in force, by an earlier
// daemon too, catches up what was due before Out, and nothing that was due since.
//
// # The clock is stepped, or the machine sleeps
//
// Due compares how far the wall clock and the monotonic one came since it was
// asked before. Ahead is what the wall clock ran beyond one sleep, so that a
// sleeping machine, a stopped process and a clock set forward are the same;
// back is what it fell behind the monotonic one.
//
//   - Ahead up to 5 minutes: each due time runs, late.
//   - Ahead up to 3 hours: of each schedule of times of day the last one that
//     was jumped over runs; intervals are treated by CatchUp.
//   - Ahead more: all is treated by CatchUp, as if the daemon had been down.
//   - Back less than a minute: nothing. What has run does not run again.
//   - Back up to 3 hours: times of day are not repeated. @every keeps its
//     interval in real time. Another interval runs at its first match on the
//     new clock that comes no more than a minute sooner than it was due in real
//     time, or at once where that is over: it never waits as long as two
//     intervals. The due times of intervals may so be repeated; Last stays at
//     the highest.
//   - Back more: the clock was wrong before, or is now. Where Last lies ahead
//     of now it becomes now (a Reset), and all counts from there; @every
//     keeps its interval. Is this step undone later, what had run before it is
//     not caught up again.
//   - A Last more than 3 hours ahead at the start was written by a wrong clock:
//     the entry begins now, with a Reset.
//
// A wall clock outside of the years 2020 to 2150 is not plausible: a machine without
// a clock of its own starts in 1970. Only @every runs then, in real time, and
// Last stays as it is. Once the clock is right, all is as at a start; what ran
// meanwhile by @every keeps its interval.
package scheduler
