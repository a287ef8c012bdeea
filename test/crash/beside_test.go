//go:build linux && crash

package crash

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// vault is the lock that processes beside the daemon take, too. Its jobs have
// shims: a direct child that outlives the daemon holds no lock any more, so a
// process outside may take it before the next daemon ends the child.
const vault = "vault"

// calm lets the load run without kills, with a process beside it, until there
// is something to check.
func (r *round) calm() {
	if _, err := r.rise(); err != nil {
		r.book.fault("start: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.beside(ctx)
	for r.book.count() < calmAsks || r.book.heldOutside() < calmHolds {
		select {
		case <-r.load.told:
		case <-ctx.Done():
			r.book.fault("calm: %d asks and %d holds in %s", r.book.count(), r.book.heldOutside(), patience)
			return
		}
	}
}

// How much a calm round has to check.
const (
	calmAsks  = 300
	calmHolds = 8
)

// beside takes the vault now and then until ctx is done.
func (r *round) beside(ctx context.Context) {
	path := filepath.Join(ipc.RootPaths(r.Dir).Locks(), vault+".lock")
	rng := random(r.lane + 1<<32)
	r.load.wg.Go(func() {
		for ctx.Err() == nil {
			pause := 5 * time.Millisecond
			if h, got := r.hold(path, 3*time.Millisecond); got {
				pause = time.Duration(rng.Int64N(int64(200 * time.Millisecond)))
				r.book.mu.Lock()
				r.book.holds = append(r.book.holds, h)
				r.book.mu.Unlock()
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	})
}

// hold takes a lock file for a while, if it is free.
func (r *round) hold(path string, long time.Duration) (hold, bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return hold{}, false // no job wanted it yet
	}
	defer func() { _ = f.Close() }()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return hold{}, false
	}
	h := hold{lock: vault, from: now()}
	<-time.After(long)
	h.to = now()
	return h, true
}
