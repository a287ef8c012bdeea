//go:build linux && power

package power

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"

	"dispatchd/test/box"
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
	b.rise(stock(t))
	if _, err := b.Client.Pause(t.Context(), "held", true); err != nil {
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
	r.journal, r.id = read(t, b.Path("state/journal")), read(t, b.Path("state/id"))
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
func (r *relic) put(t *testing.T, s spoilt) *stateBox {
	t.Helper()
	b := newBox(t, relicRules())
	if err := os.WriteFile(b.Path("state/id"), r.id, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.journal == nil {
		return b
	}
	if err := os.WriteFile(b.Path("state/journal"), s.journal, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// A real daemon starts on every damaged journal, says what is wrong, keeps the
// file, knows what is intact, does nothing wrong, and works. Its next start has
// nothing to say.
func TestDamagedJournal(t *testing.T) {
	r := makeRelic(t)
	for _, s := range r.ways(box.OrDefault(0, 25, 6)) {
		t.Run(s.name, func(t *testing.T) {
			b := r.put(t, s)
			if err := b.start(stock(t)).Up(); err != nil {
				t.Fatal(err)
			}
			r.compare(t, b, s)
			if _, err := b.recovers("after", newTold()); err != nil {
				t.Fatalf("%v\n%s", err, b.Life.Err.String())
			}
			b.Stop()
			again := b.start(stock(t))
			if err := again.Up(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(again.Err.String(), "journal:") {
				t.Errorf("the start after has something to say: %s", again.Err.String())
			}
			b.Stop()
		})
	}
}

// compare holds what the daemon knows against what there was.
func (r *relic) compare(t *testing.T, b *stateBox, s spoilt) {
	t.Helper()
	log := b.Life.Err.String()
	status, err := b.Client.Status(t.Context())
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
	kept, _ := filepath.Glob(b.Path("state/journal.damaged-*"))
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
echo begun >$BOX/begun
read go <$BOX/gate || :
'''
`})
	for _, fifo := range []string{"begun", "gate"} {
		if err := syscall.Mkfifo(b.Path(fifo), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begun, err := os.OpenFile(b.Path("begun"), os.O_RDWR, 0) // both ends: opening it does not wait
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = begun.Close() }()
	b.rise(stock(t))
	n, err := b.notify(t.Context(), "op", `{}`, "")
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(begun).ReadString('\n'); line != "begun\n" {
		t.Fatalf("it does not begin: %q, %v", line, err)
	}
	b.kill()
	path := b.Path("state/journal")
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
	b.rise(stock(t))
	defer b.Stop()
	if !strings.Contains(b.Life.Err.String(), "DAMAGED") {
		t.Errorf("no word of the damage: %s", b.Life.Err.String())
	}
	gate, err := os.OpenFile(b.Path("gate"), os.O_WRONLY, 0) // until the job reads
	if err != nil {
		t.Fatal(err)
	}
	_ = gate.Close()
	job, err := b.await(t.Context(), n.ID)
	if err != nil || job.State != ipc.Succeeded {
		t.Errorf("job: %+v, %v\n%s", job, err, b.Life.Err.String())
	}
	if runs := string(read(t, b.Path("runs"))); runs != "ran\n" {
		t.Errorf("it ran %d times", strings.Count(runs, "\n"))
	}
}
