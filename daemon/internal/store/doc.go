// Package store keeps everything below the state directory: the journal, the
// book of jobs that it is folded into, and the jobs' output.
//
// # The journal
//
// An append-only file of lines, each `crc32c SP json LF` with the number of
// the batch it was written in. One goroutine writes: whatever was queued while
// the last sync ran goes out with the next (group commit). Space is allocated
// ahead, so that a sync need not write the file's size; zeros end the log.
//
// At the start the first bad line is a torn tail if no good line of a later
// batch follows it: it is cut. Else it is damage: the file is kept aside, every
// good line is salvaged, and the report says what was lost.
//
// A file whose write or sync failed is never synced again: the owner has the
// whole book written to a new file.
package store
