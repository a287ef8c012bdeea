//go:build linux && crash

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// A history is this many clients that submit so often, at the same time, to a
// dispatcher that is idle before and after.
const (
	clients = 5
	submits = 5
)

// linearRules are dispatchers that are full most of the time.
func linearRules(gate string) []rule {
	return []rule{
		{name: "narrow", queue: 2, gate: gate},
		{name: "wide", queue: 4, concurrency: 2, gate: gate},
		{name: "joined", queue: 3, coalesce: true, gate: gate},
		{name: "under", queue: 3, survive: true, gate: gate},
	}
}

// history is one at work.
type history struct {
	box    *crashBox
	gate   *gate
	rule   rule
	prefix string // of its keys

	mu   sync.Mutex
	ops  []porcupine.Operation
	open map[string]int64 // jobs and when they were first asked for
	idle chan struct{}    // gets one when a job has ended
}

// TestLinearizable wants every history of submits, takes and ends to be one
// that an atomic queue with the same limit, keys and concurrency could have.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	total, bad := histories(t, stock(t), opt.histories)
	if bad != nil {
		t.Errorf("seed %d: not linearizable:\n%s", opt.seed, bad)
	}
	t.Logf("seed %d: %d histories", opt.seed, total)
}

// histories records n histories, or fewer if one is not linearizable.
func histories(t *testing.T, program string, n int) (int, error) {
	t.Helper()
	b := newBox(t, program, nil)
	g := openGate(t, b.Path("gate"))
	rules := linearRules(g.path)
	b.define(rules)
	l, err := b.rise()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Kill()
	var next atomic.Int64
	var wrong atomic.Pointer[error]
	var wg sync.WaitGroup
	for lane, r := range rules {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && wrong.Load() == nil; i = next.Add(1) {
				h := &history{box: b, gate: g, rule: r, prefix: fmt.Sprintf("%d.", i), open: map[string]int64{}, idle: make(chan struct{}, 1)}
				if err := h.record(random(uint64(lane)<<32 + uint64(i))); err != nil {
					wrong.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := wrong.Load(); err != nil {
		return int(next.Load()), *err
	}
	return n, nil
}

// record makes one history and judges it.
func (h *history) record(rng *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	faults := make(chan error, clients+1)
	done := make(chan struct{})
	var served sync.WaitGroup
	seed := rng.Uint64()
	served.Go(func() { h.serve(ctx, done, seed, faults) })
	var wg sync.WaitGroup
	for id := range clients {
		rng := rand.New(rand.NewPCG(rng.Uint64(), uint64(id)))
		wg.Go(func() {
			for range submits {
				if err := h.submit(ctx, id, rng); err != nil {
					faults <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(done)
	served.Wait()
	select {
	case err := <-faults:
		return err
	default:
	}
	return h.judge()
}

// submit asks once, with a key that others may use too.
func (h *history) submit(ctx context.Context, client int, rng *rand.Rand) error {
	c := call{what: "submit", key: h.prefix + fmt.Sprint(rng.IntN(clients*submits*2/3))}
	c.argument = fmt.Sprint(int(c.key[len(c.key)-1]) % 3) // the same for the same key
	from := now()
	n, err := h.box.Client.Notify(ctx, ipc.NotifyRequest{
		Dispatcher: h.rule.name, Arguments: json.RawMessage(c.argument), IdempotencyKey: c.key,
	})
	to := now()
	full := isKind(err, ipc.KindQueueFull)
	if err != nil && !full {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: c, Call: from, Output: reply{job: n.ID, full: full}, Return: to})
	if at, known := h.open[n.ID]; !full && (!known || from < at) {
		h.open[n.ID] = from
	}
	return nil
}

// serve lets children end, one at a time and in any order, until all clients
// are done and every job they were told of has ended.
func (h *history) serve(ctx context.Context, done <-chan struct{}, seed uint64, faults chan<- error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	var here []arrival
	ended := map[string]bool{}
	over := (<-chan struct{})(done)
	for over != nil || !h.all(ended) {
		var now <-chan time.Time
		if len(here) > 0 {
			now = time.After(time.Duration(rng.IntN(3000)) * time.Microsecond)
		}
		select {
		case a := <-h.gate.at(h.rule.name):
			h.add("take", clients, a.job, 0, a.at) // its call is set when all is known
			here = append(here, a)
		case <-now:
			i := rng.IntN(len(here))
			if err := h.end(ctx, here[i]); err != nil {
				faults <- err
				return
			}
			ended[here[i].job] = true
			here = append(here[:i], here[i+1:]...)
		case <-over:
			over = nil
		case <-ctx.Done():
			faults <- fmt.Errorf("of the jobs %v only %v ended: %w", h.open, ended, ctx.Err())
			return
		}
	}
}

// all says whether every job that somebody was told of has ended.
func (h *history) all(ended map[string]bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for job := range h.open {
		if !ended[job] {
			return false
		}
	}
	return true
}

// end lets a child end and waits until the daemon has noticed.
func (h *history) end(ctx context.Context, a arrival) error {
	from := now()
	_ = a.conn.Close()
	job, err := h.box.Client.Await(ctx, a.job)
	if err == nil && job.State != ipc.Succeeded {
		err = errors.New("job " + a.job + " is " + string(job.State))
	}
	h.add("end", clients+1, a.job, from, now())
	return err
}

// add notes something that was done to a job.
func (h *history) add(what string, client int, job string, from, to int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: call{what: what, job: job}, Call: from, Output: reply{}, Return: to})
}

// judge asks porcupine. A job can have been taken at any time since it was
// first asked for.
func (h *history) judge() error {
	for i, op := range h.ops {
		if c := op.Input.(call); c.what == "take" {
			asked, known := h.open[c.job]
			if !known {
				return errors.New("job " + c.job + " ran, and nobody was told of it")
			}
			h.ops[i].Call = asked
			h.ops[i].ClientId = clients + 2 + i // several are on their way at a time
		}
	}
	model := modelOf(h.rule)
	switch porcupine.CheckOperationsTimeout(model, h.ops, patience) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return errors.New("porcupine came to no answer")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s: max_queue %d, concurrency %d\n", h.rule.name, h.rule.queue, max(1, h.rule.concurrency))
	for _, op := range h.ops {
		fmt.Fprintf(&text, "%d…%d client %d: %s\n", op.Call, op.Return, op.ClientId, model.DescribeOperation(op.Input, op.Output))
	}
	return errors.New(text.String())
}

// races are check-then-act faults: what the loop decides at once is decided
// before it and done later.
func races() []plant {
	const door = "\treply := make(chan answer, 1)\n\tif err := b.loop.Send(ctx, func(s *state) { admitting(s).submit(sub,"
	return []plant{
		{name: "the limit is looked at before the loop", patches: []patch{
			{"daemon/internal/queue/submit.go", "d.rules.MaxQueue > 0 && d.outstanding() >= d.rules.MaxQueue", "d.rules.MaxQueue < 0"},
			{"daemon/notify.go", door, `	var full *ipc.Error
	_ = b.do(ctx, func(s *state) {
		_, known := s.jobs.Key(store.Key{UID: sub.by.UID, Dispatcher: sub.spec.Name, Key: sub.key})
		if q, r := s.core.DispatcherCounts(spec.Name); !known && q+r >= spec.MaxQueue {
			full = admitting(s).refusal(spec, queue.Verdict{Refused: queue.RefusedFull})
		}
	})
	if full != nil {
		return ipc.Notified{}, full
	}
` + door},
		}},
		{name: "the key is looked up before the loop", patches: []patch{
			{"daemon/notify.go", "\tif sub.key != \"\" && s.repeated(sub, reply) {\n\t\treturn\n\t}\n", ""},
			{"daemon/notify.go", door, `	known, early := false, make(chan answer, 1)
	_ = b.do(ctx, func(s *state) { known = sub.key != "" && admitting(s).repeated(sub, func(a answer) { early <- a }) })
	if known {
		a := <-early
		return a.notified, a.err
	}
` + door},
		}},
	}
}

// TestRaces plants each race and wants it found.
func TestRaces(t *testing.T) {
	for i, p := range races() {
		if testing.Short() && i > 0 {
			break
		}
		t.Run(p.name, func(t *testing.T) {
			n, err := histories(t, box.Variant(t, p.patches), 300)
			if err == nil {
				t.Errorf("seed %d: not found in %d histories", opt.seed, n)
			}
			t.Logf("found in history %d: %.200s", n, err)
		})
	}
}
