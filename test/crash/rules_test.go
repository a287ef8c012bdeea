//go:build linux && crash

package crash

import (
	"fmt"
	"strings"
	"testing"
)

// rule is a dispatcher: what is written into its file, and what the checker
// holds its runs against.
type rule struct {
	name        string
	concurrency int
	queue       int  // max_queue
	rerun       bool // on_interrupt
	survive     bool // survive_restart
	coalesce    bool
	retries     int
	exclusive   string // a named lock, "" = none
	shared      string
	gate        string // the socket that its children wait at, "" = they stamp
}

// definition is the dispatcher's file. A job may wait as long as it takes: one
// that never starts is a finding, not an expiry.
func (r rule) definition(t testing.TB, stamps string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	command := []string{stamp(t), "file", stamps}
	if r.gate != "" {
		command = []string{stamp(t), "gate", r.gate}
	}
	line("command = [%q, %q, %q]", command[0], command[1], command[2])
	line("timeout = 60\nqueue_timeout = 0\nconcurrency = %d\nmax_queue = %d", max(1, r.concurrency), r.queue)
	line("survive_restart = %t\ncoalesce = %t", r.survive, r.coalesce)
	if r.rerun {
		line("on_interrupt = 'rerun'")
	}
	if r.exclusive != "" || r.shared != "" {
		line("[locks]")
	}
	if r.exclusive != "" {
		line("exclusive = [%q]", r.exclusive)
	}
	if r.shared != "" {
		line("shared = [%q]", r.shared)
	}
	if r.retries > 0 {
		line("[retry]\nattempts = %d\nbackoff = 0", r.retries)
	}
	return b.String()
}

// allRules are the dispatchers of a sweep: each kind as a direct child and
// under a shim.
func allRules() []rule {
	var list []rule
	for _, survive := range []bool{false, true} {
		kind := []rule{
			{name: "once", queue: 6},
			{name: "redo", queue: 6, rerun: true},
			{name: "two", queue: 8, concurrency: 2, rerun: true},
			{name: "disk1", queue: 5, exclusive: "disk"},
			{name: "disk2", queue: 5, exclusive: "disk", rerun: true},
			{name: "read", queue: 6, concurrency: 2, shared: "table"},
			{name: "write", queue: 4, exclusive: "table", rerun: true},
			{name: "merge", queue: 4, coalesce: true, rerun: true},
			{name: "merge1", queue: 4, coalesce: true},
			{name: "again", queue: 4, retries: 2, rerun: true},
			{name: "again1", queue: 4, retries: 2},
		}
		for _, r := range kind {
			r.survive = survive
			if survive {
				r.name = "s" + r.name
				if r.exclusive != "" {
					r.exclusive = "s" + r.exclusive
				}
				if r.shared != "" {
					r.shared = "s" + r.shared
				}
			}
			list = append(list, r)
		}
	}
	return append(list,
		rule{name: "vault1", queue: 4, survive: true, exclusive: vault},
		rule{name: "vault2", queue: 4, survive: true, exclusive: vault, rerun: true})
}
