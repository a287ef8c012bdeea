//go:build linux && crash

package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"dispatchd/ipc"
)

// ask is the story of one idempotency key, as its caller saw it.
type ask struct {
	dispatcher, key string
	args            json.RawMessage
	sent            int64    // for the first time
	acked           int64    // for the first time; 0 = never
	jobs            []string // the id in each answer
	refused         bool     // queue_full: it must never run
}

// seen is a final state that somebody was told.
type seen struct {
	job     string
	state   ipc.State
	attempt int
}

// attempt is one run, as its child wrote it down.
type attempt struct {
	dispatcher, job string
	number          int
	pid, parent     int
	key             string
	from, to        int64 // to is the last sign of life
	ended           bool
	code            int
}

// hold is a named lock held by a process that is no job, as flock(1) does.
type hold struct {
	lock     string
	from, to int64
}

// facts are all that the checker knows.
type facts struct {
	rules  []rule
	asks   []*ask
	seen   []seen
	holds  []hold
	runs   []attempt
	finals map[string]ipc.Job // what the daemon says at the end
	shims  map[string]bool    // jobs whose shim was killed; nil = that is not looked at
	traced bool               // processes died at their Nth call: whose is not known
	faults []string           // found on the way: a daemon that ended by itself, a lock that is stuck
}

// book collects facts while several goroutines make them.
type book struct {
	mu sync.Mutex
	facts
}

// fault notes something that must not be.
func (b *book) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// answered notes one more answer for a key.
func (b *book) answered(a *ask, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.jobs = append(a.jobs, id)
	if a.acked == 0 {
		a.acked = now()
	}
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asks)
}

func (b *book) heldOutside() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.holds)
}

// readStamps reads what the children wrote.
func readStamps(path string) ([]attempt, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []attempt
	open := map[string]int{} // by job, attempt and pid
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || !strings.HasSuffix(line, "\n") {
			return nil, fmt.Errorf("stamps: %q: not a line of a child", line)
		}
		at, _ := strconv.ParseInt(f[1], 10, 64)
		who := strings.Join(f[3:6], " ")
		i, known := open[who]
		switch {
		case f[0] == "begin" && len(f) == 8:
			a := attempt{dispatcher: f[2], job: f[3], key: f[7], from: at, to: at}
			a.number, _ = strconv.Atoi(f[4])
			a.pid, _ = strconv.Atoi(f[5])
			a.parent, _ = strconv.Atoi(f[6])
			open[who], list = len(list), append(list, a)
		case !known:
			return nil, fmt.Errorf("stamps: %q: of a run that never began", line)
		case f[0] == "alive":
			list[i].to = at
		case f[0] == "end" && len(f) == 7:
			list[i].to, list[i].ended = at, true
			list[i].code, _ = strconv.Atoi(f[6])
		}
	}
	return list, nil
}
