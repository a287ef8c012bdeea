package server

import (
	"context"
	"time"

	"dispatchd/ipc"
)

// NameInput names a dispatcher.
type NameInput struct {
	Name string `path:"name" maxLength:"200"`
}

func (s *Server) health(ctx context.Context, by ipc.Peer, _ *noInput) (ipc.Health, error) {
	return s.backend.Health(ctx, by)
}

func (s *Server) status(ctx context.Context, by ipc.Peer, _ *noInput) (ipc.Status, error) {
	return s.addCounters(s.backend.Status(ctx, by))
}

func (s *Server) dispatchers(ctx context.Context, by ipc.Peer, _ *noInput) ([]ipc.Dispatcher, error) {
	return nonNil(s.backend.Dispatchers(ctx, by))
}

func (s *Server) dispatcher(ctx context.Context, by ipc.Peer, in *NameInput) (ipc.Dispatcher, error) {
	return s.backend.Dispatcher(ctx, by, in.Name)
}

func (s *Server) pause(ctx context.Context, by ipc.Peer, in *NameInput) (ipc.Dispatcher, error) {
	return s.backend.Pause(ctx, by, in.Name, true)
}

func (s *Server) resume(ctx context.Context, by ipc.Peer, in *NameInput) (ipc.Dispatcher, error) {
	return s.backend.Pause(ctx, by, in.Name, false)
}

func (s *Server) locks(ctx context.Context, by ipc.Peer, _ *noInput) ([]ipc.Lock, error) {
	return nonNil(s.backend.Locks(ctx, by))
}

// DryRunInput is a request that may be a trial.
type DryRunInput struct {
	DryRun bool `query:"dry_run" doc:"only say what would change"`
}

func (s *Server) reload(ctx context.Context, by ipc.Peer, in *DryRunInput) (ipc.Reload, error) {
	return s.backend.Reload(ctx, by, in.DryRun)
}

// WaitInput is a request that may wait: true, or a duration (parseWait).
type WaitInput struct {
	Wait string `query:"wait" doc:"true, or how long, such as 30s"`
}

// drain refuses new jobs, and waits for the end of all jobs if it is asked to.
// Where the wait runs out, it answers with the status as it is.
func (s *Server) drain(ctx context.Context, by ipc.Peer, in *WaitInput) (ipc.Status, error) {
	limit, waits, err := parseWait(in.Wait)
	if err != nil {
		return ipc.Status{}, err
	}
	if waits { // before anything is done: one that is refused has changed nothing
		ended, err := s.places.beginWait(ctx)
		if err != nil {
			return ipc.Status{}, err
		}
		defer ended()
	}
	calling, done := s.ignoreHangup(ctx)
	defer done()
	status, err := s.backend.Drain(calling, by, true)
	if err != nil || !waits {
		return s.addCounters(status, err)
	}
	waiting, cancel := withLimit(ctx, limit)
	defer cancel()
	if err := s.backend.AwaitIdle(waiting, by); err != nil && waiting.Err() == nil {
		return ipc.Status{}, err
	}
	calling, done = s.ignoreHangup(ctx) // another one: the first has run out in a long wait
	defer done()
	return s.addCounters(s.backend.Status(calling, by))
}

func (s *Server) upgrade(ctx context.Context, by ipc.Peer, _ *noInput) (ipc.Upgrade, error) {
	return s.backend.Upgrade(ctx, by)
}

func (s *Server) undrain(ctx context.Context, by ipc.Peer, _ *noInput) (ipc.Status, error) {
	return s.addCounters(s.backend.Drain(ctx, by, false))
}

// parseWait reads the wait parameter: how long, and whether at all. 0 is a wait
// without limit.
func parseWait(v string) (time.Duration, bool, error) {
	switch v {
	case "", "false", "0":
		return 0, false, nil
	case "true", "1":
		return 0, true, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, false, ipc.Errorf(ipc.KindBadRequest, "wait=%.40q: neither true nor a duration such as 30s", v)
	}
	return d, true, nil
}

// withLimit limits a wait; 0 leaves it to ctx alone.
func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}
