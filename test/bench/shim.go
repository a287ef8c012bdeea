package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"
)

// The dispatchers of the comparison: the same short job as a child of the
// daemon and below a shim, and a job that lasts.
const (
	direct  = "command = [\"/bin/true\"]\nmax_queue = 0\nsurvive_restart = false\n"
	shimmed = "command = [\"/bin/true\"]\nmax_queue = 0\nsurvive_restart = true\n"
	nap     = "command = [\"/bin/sleep\", \"600\"]\nmax_queue = 0\nconcurrency = 100\ntimeout = 0\nkill_grace = 1\n"
)

// measureShim tells what it costs that a job outlives its daemon.
func measureShim(ctx context.Context, l *lab) ([]figure, error) {
	b, err := l.openInMemory(ctx, "durability = \"relaxed\"\n", map[string]string{"direct": direct, "shimmed": shimmed, "nap": nap})
	if err != nil {
		return nil, err
	}
	defer b.close()
	var both series
	var added []float64
	for range l.rounds {
		with, without, err := b.waits(l.scaled(100))
		if err != nil {
			return nil, err
		}
		both.add(with, without)
		added = append(added, with-without)
	}
	pss, err := b.shims(ctx, l)
	if err != nil {
		return nil, err
	}
	return []figure{
		compare("notify to end, a shim against a direct child, p50", both, millis, target{}),
		plain("latency added by the shim", added, millis, target{}),
		mean("PSS of a running job's supervisor, mean of ten", pss, mebi, target{"<=", 0.9 * (1 << 20)}),
	}, nil
}

// waits gives the median times from a notify to the end of its job, with a shim
// and without, in turn.
func (b *box) waits(n int) (with, without float64, err error) {
	conn, err := dial(b.socket)
	if err != nil {
		return 0, 0, err
	}
	defer conn.close()
	took := map[string][]float64{}
	for range n {
		for _, name := range []string{"direct", "shimmed"} {
			req := waiting(name)
			start := time.Now()
			if _, err := conn.ask(req); err != nil {
				return 0, 0, err
			}
			took[name] = append(took[name], float64(time.Since(start)))
		}
	}
	return median(took["shimmed"]), median(took["direct"]), nil
}

// shims starts ten jobs that last, lets everything come to rest, and gives the
// PSS of each one's supervisor.
func (b *box) shims(ctx context.Context, l *lab) (pss []float64, err error) {
	const n = 10
	conn, err := dial(b.socket)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	var ids []string
	defer func() {
		ctx := context.WithoutCancel(ctx)
		for _, id := range ids { // they would outlive the daemon
			_, cerr := b.client.Cancel(ctx, id)
			_, werr := b.client.Await(ctx, id)
			err = errors.Join(err, cerr, werr)
		}
	}()
	for range n {
		location, err := conn.ask(request("nap", ""))
		if err != nil {
			return nil, err
		}
		ids = append(ids, path.Base(location))
	}
	pids, err := b.findShims(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, l.calm()); err != nil {
		return nil, err
	}
	for _, pid := range pids {
		v, err := memory(pid, "Pss")
		if err != nil {
			return nil, err
		}
		pss = append(pss, v)
	}
	return pss, nil
}

// findShims waits until n shims of the daemon have started their jobs, which
// are their children.
func (b *box) findShims(ctx context.Context, n int) (pids []int, err error) {
	for {
		pids = pids[:0]
		for _, pid := range children(b.cmd.Process.Pid) {
			if len(children(pid)) > 0 {
				pids = append(pids, pid)
			}
		}
		if len(pids) >= n {
			return pids, nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("%d of %d shims are there: %w", len(pids), n, err)
		}
	}
}
