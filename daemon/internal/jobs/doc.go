// Package jobs keeps the jobs of a daemon: what the records of its journal add
// up to.
//
// State.Apply is the only place where a job changes, live and at replay alike.
// A job that was given out never changes: each change makes a new one, so that
// it may be encoded while the owner goes on. Ended jobs are kept encoded, within
// the bounds of a store.Retention.
package jobs
