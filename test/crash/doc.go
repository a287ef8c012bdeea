// Package crash breaks the daemon on purpose, thousands of times, and holds
// what became of it against what is promised.
//
// A box is a private root with a real daemon. Callers notify it with
// idempotency keys and write down each answer; the children (stamp) write down
// when they lived. The daemon is killed with SIGKILL at random moments, right
// after an answer, while it starts, or at the Nth call of a kind (strace), and
// started again, over and over; shims are killed as well.
// Then everything is left to end, and check looks at nothing but the answers,
// the children's stamps, and the final states that the daemon tells at the end:
// never at its journal, its log or its word about the past.
//
// A checker that finds nothing proves little, so each run plants faults into
// copies of the daemon's source (go build -overlay) and fails when one of them
// is not found.
//
// The long form is for a machine of its own:
//
//	go test -tags crash -timeout 0 -run 'Sweep|Nth' -v ./test/crash -kills=10000 -points=2000
//
// The files: box (one daemon), load (callers), facts and check (what is
// promised), sweep, nth and plant (the tests), linear (submit, limit, key and
// take as one atomic object).
package crash
