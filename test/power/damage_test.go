//go:build linux && power

package power

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/sources"
)

// relic is a state directory after some life: its journal as a crash left it,
// and what callers know.
type relic struct {
	journal, id []byte
	args        map[string]string // by job
	state       map[string]ipc.State
}

func relicRules() map[string]string {
	rules := simple()
	rules["held"] = rules["op"]
	return rules
}

// makeRelic lets a daemon live and kills it. Dispatcher "held" is paused.
func makeRelic(t *testing.T) *relic {
	t.Helper()
	b := newBox(t, relicRules())
	b.rise(stock())
	if _, err := b.client.Pause(t.Context(), "held", true); err != nil {
		t.Fatal(err)
	}
	r := &relic{args: map[string]string{}, state: map[string]ipc.State{}}
	for i := range 24 {
		name := []string{"op", "held"}[i%2]
		args := fmt.Sprintf(`{"i":%d}`, i)
		n, err := b.notify(t.Context(), name, args, "")
		if err != nil {
			t.Fatal(err)
		}
		r.args[n.ID], r.state[n.ID] = args, ipc.Queued
		if name == "op" {
			if _, err := b.await(t.Context(), n.ID); err != nil {
				t.Fatal(err)
			}
			r.state[n.ID] = ipc.Succeeded
		}
	}
	b.kill()
	r.journal, r.id = read(t, b.path("state/journal")), read(t, b.path("state/id"))
	return r
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// spoilt is one way to damage a journal.
type spoilt struct {
	name    string
	journal []byte // nil = there is none
	least   int    // jobs that must be left
}

// ways damages the relic in many ways, at places that are chosen by chance.
func (r *relic) ways(n int) []spoilt {
	rng := random(5)
	end := len(bytes.TrimRight(r.journal, "\x00"))
	half := bytes.LastIndexByte(r.journal[:end/2], '\n') - 20
	all := []spoilt{
		{"no journal", nil, 0},
		{"an empty journal", []byte{}, 0},
		{"all zeros", make([]byte, len(r.journal)), 0},
		{"not a journal", bytes.Repeat([]byte("text\n"), 1000), 0},
		{"zeros to its end", append(bytes.Clone(r.journal[:half]), make([]byte, len(r.journal)-half)...), 0},
	}
	for i := range n {
		at := rng.IntN(end)
		flipped, short, page := bytes.Clone(r.journal), bytes.Clone(r.journal[:1+at]), bytes.Clone(r.journal)
		flipped[at] ^= 1 << (i % 8)
		from := at / 4096 * 4096
		clear(page[from : from+4096])
		all = append(all, spoilt{fmt.Sprintf("bit %d of byte %d", i%8, at), flipped, len(r.args) - 1},
			spoilt{fmt.Sprintf("cut at %d", at), short, 0}, spoilt{fmt.Sprintf("zeros from %d, %d", from, i), page, 0})
	}
	return all
}

// put makes a box whose state directory is a relic's, with its journal spoilt.
func (r *relic) put(t *testing.T, s spoilt) *box {
	t.Helper()
	b := newBox(t, relicRules())
	if err := os.WriteFile(b.path("state/id"), r.id, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.journal == nil {
		return b
	}
	if err := os.WriteFile(b.path("state/journal"), s.journal, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// A real daemon starts on every damaged journal, says what is wrong, keeps the
// file, knows what is intact, does nothing wrong, and works. Its next start has
// nothing to say.
func TestDamagedJournal(t *testing.T) {
	r := makeRelic(t)
	for _, s := range r.ways(sources.OrDefault(0, 25, 6)) {
		t.Run(s.name, func(t *testing.T) {
			b := r.put(t, s)
			if err := b.start(stock()).up(); err != nil {
				t.Fatal(err)
			}
			r.compare(t, b, s)
			if _, err := b.recovers("after", newTold()); err != nil {
				t.Fatalf("%v\n%s", err, b.life.log())
			}
			b.stop()
			again := b.start(stock())
			if err := again.up(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(again.log(), "journal:") {
				t.Errorf("the start after has something to say: %s", again.log())
			}
			b.stop()
		})
	}
}

// compare holds what the daemon knows against what there was.
func (r *relic) compare(t *testing.T, b *box, s spoilt) {
	t.Helper()
	log := b.life.log()
	status, err := b.client.Status(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	damaged := strings.Contains(log, "DAMAGED")
	if damaged != slices.ContainsFunc(status.Warnings, func(w string) bool { return strings.HasPrefix(w, "journal: ") }) {
		t.Errorf("the log and the status disagree: %v\n%s", status.Warnings, log)
	}
	if !damaged && !strings.Contains(log, "unfinished last write") {
		t.Errorf("no word of it: %s", log)
	}
	kept, _ := filepath.Glob(b.path("state/journal.damaged-*"))
	if damaged && len(s.journal) > 0 && (len(kept) != 1 || !bytes.Equal(read(t, kept[0]), s.journal)) {
		t.Errorf("kept as %v", kept)
	}
	jobs := b.jobs()
	for id, job := range jobs {
		switch {
		case r.args[id] == "":
			t.Errorf("job %s was never asked for", id)
		case string(job.Arguments) != r.args[id]:
			t.Errorf("job %s: arguments %s", id, job.Arguments)
		case job.State != r.state[id] && job.State != ipc.Interrupted && !strings.Contains(log, "pause"):
			t.Errorf("job %s: %s, it was %s", id, job.State, r.state[id])
		}
	}
	if len(jobs) < s.least {
		lost := slices.DeleteFunc(slices.Collect(maps.Keys(r.args)), func(id string) bool { return jobs[id].ID != "" })
		t.Errorf("%d of %d jobs are left, lost are %v\n%s", len(jobs), len(r.args), lost, log)
	}
}

// A job runs under its shim, the daemon is killed, and the line that says that
// the job was started becomes unreadable. The next daemon takes the job over by
// its marks: it runs once, and its end is known.
func TestDamagedStart(t *testing.T) {
	b := newBox(t, map[string]string{"op": `script = '''
echo ran >>$BOX/runs
i=0
while [ ! -e $BOX/go ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done
'''
`})
	b.rise(stock())
	n, err := b.notify(t.Context(), "op", `{}`, "")
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; <-time.After(10 * time.Millisecond) {
		if _, err := os.Stat(b.path("runs")); err == nil {
			break
		}
		if time.Since(start) > patience {
			t.Fatal("it does not begin")
		}
	}
	b.kill()
	path := b.path("state/journal")
	text := read(t, path)
	at := bytes.Index(text, []byte(`"op":"start"`))
	if at < 0 {
		t.Fatalf("no start in %s", text)
	}
	text[at+6] ^= 1
	// Without the zeros behind it, it is no torn tail of a crash.
	if err := os.WriteFile(path, bytes.TrimRight(text, "\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.rise(stock())
	defer b.stop()
	if !strings.Contains(b.life.log(), "DAMAGED") {
		t.Errorf("no word of the damage: %s", b.life.log())
	}
	if err := os.WriteFile(b.path("go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	job, err := b.await(t.Context(), n.ID)
	if err != nil || job.State != ipc.Succeeded {
		t.Errorf("job: %+v, %v\n%s", job, err, b.life.log())
	}
	if runs := string(read(t, b.path("runs"))); runs != "ran\n" {
		t.Errorf("it ran %d times", strings.Count(runs, "\n"))
	}
}
