// Package store keeps everything below the state directory: the journal, the
// jobs' output and the caches' data. What the journal's records mean is known to
// a State alone, which package jobs implements.
//
// # The journal
//
// An append-only file of lines, each `crc32c SP json LF`. One goroutine writes,
// the writer: whatever was queued while the last sync ran goes out with the next
// (group commit). The lines are numbered, and grouped in batches: a batch begins
// when all before it is synced, so what a crash can leave in disorder is the last
// batch and nothing else.
//
// A file begins with a head, a snapshot of the state and a line that says that
// it is whole; it gets its name once all of that is synced. In use it ends in
// zeros, which are allocated ahead: for the next sync, which then need not write
// the file's size, and for the starts and ends of all open jobs, so that these
// never fail for want of space. Closed in order it ends with a line that says so.
//
// Callers leave records in the inbox and are answered by the writer; what the
// writer knows and others may ask is its health. Of the writer's own, space is
// what is allocated, and syncer what is written and not yet synced.
//
// # What is found at a start
//
// A bad or missing line is a torn tail if no good line of a later batch follows
// it: it is cut, and nobody was answered for it. Else, and where the end of the
// file is not as it was left, it is damage: the file is kept under another name,
// every good line is salvaged, the report lists what was lost, and names the
// queued jobs that may have run, as far as that can be told. A crashed journal
// whose last pages turned to zeros looks like one that was never written so far:
// that alone cannot be seen.
//
// # What fails while it runs
//
// A full disk refuses what needs space of its own, and is asked again until it
// has some; nothing else changes. A file whose write or sync failed is never
// written or synced again: the owner has the whole state written to a new file.
// Records whose write failed half way are in doubt (ErrInDoubt), and are told
// apart from those that were surely not written (ErrUnavailable).
package store
