// Package scheduler says when a dispatcher is due.
//
// Parse reads a schedule as a dispatcher's file writes it and never panics;
// Next computes the times. robfig/cron reads the five fields and finds the next
// match, but only ever on a wall clock without time zones: the mapping from the
// wall to real time is ours, so that daylight saving loses nothing and repeats
// nothing. The loop that waits for these times comes with the schedules' stage.
//
// What is promised:
//   - a time of day that does not exist (spring) runs at the first instant after
//     the gap; one that exists twice (autumn) runs once, at its first occurrence;
//   - a schedule that names no hour (the field is *, as in hourly) runs in every
//     hour that passes, in the repeated one too;
//   - the result depends on the arguments alone: no clock is read.
package scheduler
