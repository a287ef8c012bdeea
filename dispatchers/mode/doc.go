// Package mode has the types of those keys whose value is one of a few words:
// kill_mode, leftovers, on_interrupt, overlap, durability, coalesce_arguments. The files of
// dispatchers, the launch of a job, its supervisor and the journal share them, so
// this package imports the standard library alone. The words of catch_up are
// scheduler's.
//
// What is promised:
//   - A constant's text is the word in the file, on the wire and in a launch
//     record: it never changes, and a newer program reads an older one's.
//   - Values lists every word, in the order of messages and of the file's
//     schema. The empty text is none.
//   - What a word means is a method here. Other packages call it, or compare
//     with a constant, and never with a literal: test/rules finds that one.
//   - A method takes a value that is none of them, as a record of another version
//     may have, for the default.
package mode
