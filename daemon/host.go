package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dispatchd/daemon/internal/caches"
	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/loop"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// host is what does not change while the daemon lives, and the door to the loop.
// Every goroutine may use it.
type host struct {
	cfg       Config
	log       *slog.Logger
	settings  dispatchers.Settings
	dir       *store.Dir
	inherited *inherited // from the last image of the program, nil = there was none
	loop      *loop.Loop[state]
	epoch     time.Time       // of the queue's clock: the daemon's start
	timeline  *store.Timeline // by which what is kept grows old
	catalog   atomic.Pointer[dispatchers.Catalog]
	build     *launch.Builder
	runner    *run.Runner
	bulky     sync.Mutex      // of the notify whose large arguments are checked
	following context.Context // done when the loop stops: supervised children are left then
	caches    *caches.Caches
	manager   *serviceManager // nil = none listens
	zones     *scheduler.Zones
	watch     watch  // over the daemon's own files
	bootID    string // of the machine
	bootShort string // the same, short
	epochID   string // of the run directory
}

// now is the queue's clock: monotonic, since the daemon's start.
func (h *host) now() time.Duration { return time.Since(h.epoch) }

// clock reads both clocks for the schedules.
func (h *host) clock() scheduler.Now { return scheduler.Now{Wall: h.cfg.wall(), Mono: h.now()} }

// do runs fn on the loop as an event and waits for it.
func (h *host) do(ctx context.Context, fn func(*state)) error {
	return stopped(h.loop.Do(ctx, fn))
}

// view runs fn on the loop, and waits for it; to be looked at is no event.
func (h *host) view(ctx context.Context, fn func(*state)) error {
	return stopped(h.loop.View(ctx, fn))
}

// post sends fn to the loop and never waits.
func (h *host) post(fn func(*state)) { h.loop.Post(fn) }

// until waits until a condition holds on the loop.
func (h *host) until(ctx context.Context, holds func(*state) bool) error {
	return stopped(h.loop.Until(ctx, holds))
}

// await waits for what the loop has promised to send, or for the loop's end. What
// was sent before that end counts: it is never answered as refused.
func await[T any](h *host, ch <-chan T) (T, error) {
	select {
	case v := <-ch:
		return v, nil
	case <-h.loop.Done():
	}
	select {
	case v := <-ch:
		return v, nil
	default:
		var none T
		return none, errStopping()
	}
}

// stopped words the loop's end for clients.
func stopped(err error) error {
	if errors.Is(err, loop.ErrClosed) {
		return errStopping()
	}
	return err
}

// errStopping is the answer to a client that comes while the daemon goes down.
func errStopping() *ipc.Error {
	err := ipc.Errorf(ipc.KindDraining, "the daemon is stopping")
	err.RetryAfter = 5
	err.Suggestion = "ask again when it has started; use the same Idempotency-Key if you are not sure it was accepted"
	return err
}

// allow asks the rules of access.
func (h *host) allow(q query) error { return h.cfg.allow(q) }

// lookup finds a dispatcher that takes jobs.
func (h *host) lookup(name string) (*dispatchers.Spec, error) {
	c := h.catalog.Load()
	if spec := c.Specs[name]; spec != nil {
		return spec, nil
	}
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	if faults, bad := c.Broken(name); bad {
		p := ipc.Errorf(ipc.KindDispatcherDisabled, "dispatcher %s is disabled: %s", name, reason(faults))
		p.Dispatcher, p.Suggestion = name, "mend the file, then run: dispatchctl reload"
		if _, known := c.Disabled[name]; !known {
			p.Detail = fmt.Sprintf("no dispatcher is known as %q, but not all could be read: %s", name, reason(faults))
			p.Suggestion = "mend the directory, then run: dispatchctl reload"
		}
		return nil, p
	}
	p := ipc.Errorf(ipc.KindDispatcherUnknown, "no dispatcher is named %q", name)
	p.Dispatcher = name
	if near := c.Nearest(name); near != "" {
		p.Suggestion = "did you mean " + near + "?"
	}
	return nil, p
}

// unavailable says that nothing can be promised now.
func (h *host) unavailable(cause error) *ipc.Error {
	p := ipc.Errorf(ipc.KindJournalUnavailable, "journal in %s: %v", h.cfg.Paths.State, cause)
	p.RetryAfter = 5
	p.Suggestion = "free space on that disk; jobs are accepted again by themselves"
	if errors.Is(cause, store.ErrInDoubt) {
		p.Detail += "; nobody knows whether the job was written"
		p.Suggestion = "ask again with the same Idempotency-Key; jobs are accepted again by themselves"
	}
	return p
}

// durability is the level that holds for a dispatcher's jobs.
func (h *host) durability(spec *dispatchers.Spec) mode.Durability {
	if spec != nil && spec.Durability != "" {
		return spec.Durability
	}
	return h.settings.Durability
}

// reason puts a bad definition's faults into one line.
func reason(faults []dispatchers.Fault) string {
	var lines []string
	for _, f := range faults {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "; ")
}

// isKind reports whether err is an ipc.Error of a kind.
func isKind(err error, k ipc.Kind) bool {
	p, ok := errors.AsType[*ipc.Error](err)
	return ok && p.Kind == k
}
