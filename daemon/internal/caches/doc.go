// Package caches gives readers the data of caches, as fresh as they ask for it, and
// keeps what refreshes print.
//
// # What it promises
//
// Data that is fresh enough is read without the daemon's loop: a file is whole at
// any instant, for a refresh puts its data in place by rename. For anything else a
// reader makes one call on the loop, Refresh, which gives the job that is under way
// or submits one. The loop decides between them in one step, so a hundred readers
// have one job: there is no other single flight.
//
// A reader decides by data that a refresh may replace before its call is heard. The
// loop therefore asks once more whether newer data is there, before it submits a
// job. Keep has put the data in place by then: run calls it before the end of an
// attempt is told.
//
// A reader that finds no data fresh enough gets the old one if that is allowed, or
// an error that says why: the last refresh failed, this one was refused, or it is
// under way.
package caches
