//go:build linux && service

package service

import (
	"bufio"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// entry is one of the journal's: its fields.
type entry map[string]any

// text is a field, "" where there is none.
func (e entry) text(field string) string {
	s, _ := e[field].(string)
	return s
}

// is says whether an entry has these fields.
func (e entry) is(want map[string]string) bool {
	for k, v := range want {
		if e.text(k) != v {
			return false
		}
	}
	return true
}

// journal is what is said of the unit from now on.
type journal struct {
	t       *testing.T
	entries chan entry
}

// follow reads the journal of the unit from now on, until the test ends.
func (m *machine) follow() *journal {
	m.t.Helper()
	_, cursor, ok := strings.Cut(m.run("journalctl --lines=1 --show-cursor --output=cat"), "-- cursor: ")
	if !ok {
		m.t.Fatal("the journal has no cursor")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := m.Command(ctx, "journalctl", "--after-cursor="+strings.TrimSpace(cursor), "--follow", "--no-tail", "--output=json", "--unit=dispatchd.service")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		m.t.Fatal(err)
	}
	j := &journal{m.t, make(chan entry, 10_000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(j.entries)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e entry
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				j.entries <- e
			}
		}
	}()
	m.t.Cleanup(func() {
		cancel()
		_ = out.Close() // journalctl itself is a child of what cancel ends
		<-read
		_ = cmd.Wait()
	})
	return j
}

// await waits for an entry with these fields.
func (j *journal) await(want map[string]string) entry {
	j.t.Helper()
	var seen []string
	for e := range j.entries {
		if e.is(want) {
			return e
		}
		seen = append(seen, e.text("MESSAGE"))
	}
	j.t.Fatalf("the journal ended; waiting for %v, seen %q", want, seen)
	return nil
}

// show is a property of the unit.
func (m *machine) show(property string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl show --value -p " + property + " dispatchd.service"))
}

// pid is the unit's main process, as the machine sees it.
func (m *machine) pid() int {
	m.t.Helper()
	n, err := strconv.Atoi(m.show("MainPID"))
	if err != nil || n == 0 {
		m.t.Fatalf("the daemon's process: %d, %v", n, err)
	}
	return n
}

// entriesOf gives what the journal has with a field.
func entriesOf(m *machine, match string) []entry {
	m.t.Helper()
	var list []entry
	for line := range strings.Lines(m.run("journalctl --output=json " + match)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			m.t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}
