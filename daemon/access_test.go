package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// Each verb of the API has a rule; what is no verb, and a peer whom the kernel
// does not name, is refused whatever it asks for.
func TestEveryVerbHasARule(t *testing.T) {
	for _, v := range server.Verbs() {
		if err := allow(query{Verb: v}); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if err := allow(query{Verb: v, Peer: ipc.Peer{UID: -1}}); !isKind(err, ipc.KindForbidden) {
			t.Errorf("%s for an unknown peer: %v", v, err)
		}
	}
	for _, v := range []server.Verb{"", "reed", "READ", "notify "} {
		if err := allow(query{Verb: v}); !isKind(err, ipc.KindForbidden) {
			t.Errorf("%q is taken for a verb: %v", v, err)
		}
	}
}

// Every method of the backend asks, with its verb, its peer and what it is
// about, and does nothing for a peer who may not.
func TestEveryMethodAsks(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{
			"op": "command = [\"/bin/true\"]\nschedule = \"@every 1h\"\n[cache]\n",
		}, func(string, int) act { return act{} })
		defer s.strike()
		s.cfg.Upgrade = []string{"/bin/false"}
		job := s.notify("op")
		var asked []query
		s.cfg.allow = func(q query) error {
			asked = append(asked, q)
			return ipc.Errorf(ipc.KindForbidden, "not you")
		}
		peer := ipc.Peer{UID: 7, GID: 8, PID: 9}
		ctx := t.Context()
		cases := map[string]struct {
			verb server.Verb
			on   string // dispatcher, or dispatcher and job
			call func() (any, error)
		}{
			"Notify": {server.VerbNotify, "op", func() (any, error) {
				return s.Notify(ctx, peer, ipc.NotifyRequest{Dispatcher: "op", Arguments: []byte("[")}) // asked before its arguments are looked at
			}},
			"Job":               {server.VerbRead, "op job", func() (any, error) { return s.Job(ctx, peer, job.ID) }},
			"Await":             {server.VerbRead, "op job", func() (any, error) { return s.Await(ctx, peer, job.ID) }},
			"Jobs":              {server.VerbRead, "", func() (any, error) { return s.Jobs(ctx, peer, ipc.JobFilter{Limit: 10}) }},
			"Log":               {server.VerbOutput, "op job", func() (any, error) { return s.Log(ctx, peer, job.ID, 0, false) }},
			"Cancel":            {server.VerbCancel, "op job", func() (any, error) { return s.Cancel(ctx, peer, job.ID) }},
			"Hold":              {server.VerbHold, "op job", func() (any, error) { return s.Hold(ctx, peer, job.ID) }},
			"CancelIfAbandoned": {server.VerbHold, "op job", func() (any, error) { return s.CancelIfAbandoned(ctx, peer, job.ID) }},
			"Retry":             {server.VerbRetry, "op job", func() (any, error) { return s.Retry(ctx, peer, job.ID, "") }},
			"Dispatchers":       {server.VerbRead, "", func() (any, error) { return s.Dispatchers(ctx, peer) }},
			"Dispatcher":        {server.VerbRead, "op", func() (any, error) { return s.Dispatcher(ctx, peer, "op") }},
			"Pause":             {server.VerbPause, "op", func() (any, error) { return s.Pause(ctx, peer, "op", true) }},
			"Locks":             {server.VerbRead, "", func() (any, error) { return s.Locks(ctx, peer) }},
			"Status":            {server.VerbStatus, "", func() (any, error) { return s.Status(ctx, peer) }},
			"Health":            {server.VerbHealth, "", func() (any, error) { return s.Health(ctx, peer) }},
			"Reload":            {server.VerbReload, "", func() (any, error) { return s.Reload(ctx, peer, false) }},
			"Drain":             {server.VerbDrain, "", func() (any, error) { return s.Drain(ctx, peer, true) }},
			"Upgrade":           {server.VerbUpgrade, "", func() (any, error) { return s.Upgrade(ctx, peer) }},
			"AwaitIdle":         {server.VerbDrain, "", func() (any, error) { return nil, s.AwaitIdle(ctx, peer) }},
			"Schedule":          {server.VerbRead, "op", func() (any, error) { return s.Schedule(ctx, peer, ipc.ScheduleQuery{Dispatcher: "op"}) }},
			"Caches":            {server.VerbRead, "", func() (any, error) { return s.Caches(ctx, peer) }},
			"Cache":             {server.VerbRead, "op", func() (any, error) { return s.Cache(ctx, peer, "op", ipc.CacheQuery{Wait: time.Second}) }},
		}
		for m := range reflect.TypeFor[server.Backend]().Methods() {
			c, ok := cases[m.Name]
			if !ok {
				t.Errorf("no case for %s", m.Name)
				continue
			}
			asked = nil
			got, err := c.call()
			if !isKind(err, ipc.KindForbidden) {
				t.Errorf("%s: %v", m.Name, err)
			}
			if v := reflect.ValueOf(got); v.IsValid() && !v.IsZero() && (v.Kind() != reflect.Slice || v.Len() > 0) {
				t.Errorf("%s gives what may not be seen: %+v", m.Name, got)
			}
			if len(asked) != 1 {
				t.Errorf("%s asked %d times: %+v", m.Name, len(asked), asked)
				continue
			}
			q := asked[0]
			on := ""
			if q.Dispatcher != nil {
				on = q.Dispatcher.Name
			}
			if q.Job != nil && q.Job.ID == job.ID {
				on += " job"
			}
			if q.Verb != c.verb || q.Peer != peer || on != c.on {
				t.Errorf("%s asked for %s on %q by %+v, want %s on %q", m.Name, q.Verb, on, q.Peer, c.verb, c.on)
			}
		}
		asked = nil
		if _, err := s.Drain(ctx, peer, false); !isKind(err, ipc.KindForbidden) || len(asked) != 1 || asked[0].Verb != server.VerbUndrain {
			t.Errorf("undrain asked %+v: %v", asked, err)
		}

		s.cfg.allow = allow
		status, err := s.Status(ctx, peer)
		if err != nil || status.Draining || len(status.Paused) > 0 || status.Running != 1 || status.Queued != 0 || status.Counters.Accepted != 1 {
			t.Errorf("after what was refused: %+v, %v", status, err)
		}
		if _, err := s.Cancel(ctx, peer, job.ID); err != nil {
			t.Error(err)
		}
	})
}

// Each route asks with the verb of its row, whoever calls it, and a refusal is
// its answer. The description alone is everybody's: it says nothing of this
// daemon.
func TestEveryRouteAsksItsVerb(t *testing.T) {
	root := t.TempDir()
	s := set(t, root, map[string]string{"op": "command = [\"/bin/true\"]\n[cache]\n"}, func(string, int) act { return act{} })
	defer s.strike()
	if _, err := s.Pause(t.Context(), ipc.Peer{}, "op", true); err != nil {
		t.Fatal(err)
	}
	job, err := s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan query, 100)
	s.cfg.allow = func(q query) error {
		asked <- q
		return ipc.Errorf(ipc.KindForbidden, "not you")
	}
	path := filepath.Join(root, "s")
	l, err := server.Listen(path, "", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	srv := server.New(s.backend, server.Options{})
	go func() { _ = srv.Serve(l) }()
	defer func() { _ = srv.Shutdown(context.Background()) }()
	for _, r := range server.Routes() {
		where := strings.NewReplacer("{name}", "op", "{id}", job.ID, "{kind}", "draining").Replace(r.Path)
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", r.Method, where)
		answer, err := io.ReadAll(c)
		_ = c.Close()
		if err != nil {
			t.Fatal(err)
		}
		want := "HTTP/1.1 403 "
		fixed := r.ID == "openapi" || r.ID == "index" || r.ID == "problem" // the same for everybody
		if fixed {
			want = "HTTP/1.1 200 "
		}
		if !strings.HasPrefix(string(answer), want) {
			t.Errorf("%s: %s", r.ID, answer)
		}
		n := 0
		for ; len(asked) > 0; n++ {
			if q := <-asked; q.Verb != r.Verb || q.Peer != self() && q.Peer.PID != 0 {
				t.Errorf("%s, whose verb is %s, asks for %s by %+v", r.ID, r.Verb, q.Verb, q.Peer)
			}
		}
		if (n == 0) != fixed {
			t.Errorf("%s asks %d times", r.ID, n)
		}
	}
}

// A job whose holder went away ends, but not one that others have joined.
func TestCancelIfAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "command = [\"/bin/true\"]\ncoalesce = true\n"}, func(string, int) act { return act{} })
		defer s.strike()
		running, shared, alone := s.notify("op"), ipc.Notified{}, ipc.Notified{}
		for _, n := range []*ipc.Notified{&shared, &shared, &alone} {
			var err error
			args := []byte(`"shared"`)
			if n == &alone {
				args = []byte(`"alone"`)
			}
			if *n, err = s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op", Arguments: args}); err != nil {
				t.Fatal(err)
			}
		}
		if !shared.Coalesced || alone.Coalesced {
			t.Fatalf("shared %+v, alone %+v", shared, alone)
		}
		var got []ipc.State
		for _, id := range []string{shared.ID, alone.ID, alone.ID, running.ID} {
			if _, err := s.CancelIfAbandoned(t.Context(), ipc.Peer{}, id); err != nil {
				t.Error(err) // also for one that has ended already
			}
			job, err := s.Job(t.Context(), ipc.Peer{}, id)
			if err != nil {
				t.Error(err)
			}
			if id == running.ID {
				job = s.await(id)
			}
			got = append(got, job.State)
		}
		if want := []ipc.State{ipc.Queued, ipc.Canceled, ipc.Canceled, ipc.Canceled}; !slices.Equal(got, want) {
			t.Errorf("states %v, want %v", got, want)
		}
		if _, err := s.Cancel(t.Context(), ipc.Peer{}, shared.ID); err != nil {
			t.Error(err)
		}
	})
}
