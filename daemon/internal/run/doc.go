// Package run carries one attempt of a job from its locks to its verdict. The
// daemon and dispatchd run use the same Runner; their Events and their Starter
// differ.
//
// # One attempt
//
//	TryLocks ─▶ Run: Build, Check, files ─▶ recorded ─▶ Starter ─▶ Child ─▶ data, locks ─▶ Ended
//	                                         │            │
//	                                         └────────────┴──▶ NotStarted
//
// The order of deeds is fixed. 1. The owner takes the locks, all or none, and
// writes the start to its journal. 2. Run resolves what is executed; user, groups
// and command are those of this instant. 3. Run waits until the start is recorded:
// no child exists whose start a crash could forget. 4. The child starts. 5. When
// it has ended, a cache's data is put in its place and the locks are freed, and
// then the end is told: whoever hears of it finds the new data, and the next
// attempt finds the locks free.
//
// # Who owns what
//
// An attempt has one goroutine, which calls Run. Everything up to the end happens
// on it: nothing of an attempt blocks the owner's loop but TryLocks, which never
// waits. The goroutine owns the locks from Run on, and reads of the Attempt only
// what New has set. What the owner reads and writes while the attempt runs (the
// child, whether it was canceled, its progress) is unexported and has methods that
// the owner alone calls. Run tells it the child and all else by Events, whose
// methods post to the owner's loop.
//
// # What it promises
//
// Started, if it is called, comes before the one call of Ended; NotStarted comes
// alone. After any of the two last, the locks are free and Run returns. When ctx
// is done, Run leaves a child that goes on without this process, and tells nothing
// more.
package run
