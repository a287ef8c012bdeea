package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/daemon"
	"dispatchd/ipc"
	"dispatchd/ipc/client"
)

// demoFiles are the example dispatchers of the demo.
func demoFiles() map[string]string {
	return map[string]string{
		"backup": `description = "prints what it does, with progress on descriptor 3"
script = '''
for part in users rules certificates; do
  echo "saving $part"
  n=$((${n:-0} + 33)); echo "$n saving $part" >&3
  sleep 0.3
done
echo '{"result":{"saved":3}}' >&3
'''
`,
		"apply": `description = "applies the configuration; notifies that come while one is queued join it"
coalesce = true
script = "sleep 0.4; echo applied"
`,
		"upgrade": `description = "a queue with room for two"
max_queue = 2
script = "sleep 0.5; echo upgraded"
`,
		"stuck": `description = "never ends by itself"
timeout = 1
kill_grace = 1
script = "trap '' TERM; while :; do sleep 1; done"
`,
		"load": `description = "how busy the machine is, kept as data"
schedule = "hourly"
run_on_start = true
script = "uptime | awk '{ gsub(/,/, \"\"); print \"{\\\"load\\\":\" $(NF - 2) \"}\" }'"
[cache]
max_age = "2h"
`,
	}
}

// demoCommand plays the demo in a private instance.
func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show what dispatchd does, in a private instance, in a few seconds",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout())
		},
	}
}

// show is one run of the demo.
type show struct {
	out    io.Writer
	client *client.Client
}

// demo makes a private root, starts a real daemon in it, and plays the scenes.
func demo(ctx context.Context, out io.Writer) error {
	root, err := os.MkdirTemp("", "dispatchd-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(root) }()
	p := ipc.RootPaths(root)
	if err := os.MkdirAll(p.Dispatchers, 0o755); err != nil {
		return err
	}
	for name, text := range demoFiles() {
		if err := os.WriteFile(filepath.Join(p.Dispatchers, name+".toml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	argv, err := supervisor()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{Paths: p, Shim: argv, Log: slog.New(slog.DiscardHandler), Version: version(), Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("demo daemon: %w", err)
	}
	s := &show{out: out, client: &client.Client{Socket: p.Socket()}}
	fmt.Fprintf(out, "A daemon listens on %s; its dispatchers are in %s.\n", p.Socket(), p.Dispatchers)
	err = s.play(ctx)
	stop()
	if end := <-ended; err == nil {
		err = end
	}
	return err
}

// play runs the scenes in order.
func (s *show) play(ctx context.Context) error {
	for _, scene := range []func(context.Context) error{s.output, s.coalescing, s.full, s.timeout, s.cache, s.history} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(s.out, "\nThat was dispatchd. Next: README.md, or dispatchd --root DIR with your own dispatchers.d.")
	return nil
}

// heading prints the title of a scene.
func (s *show) heading(text string) { fmt.Fprintf(s.out, "\n── %s\n", text) }

// output notifies a job and follows its output.
func (s *show) output(ctx context.Context) error {
	s.heading("Notify, and follow the output as it comes")
	n, err := s.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: "backup", Arguments: json.RawMessage(`{"to":"usb"}`)})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   accepted as %s, safe on disk\n", n.ID)
	log, err := s.client.Log(ctx, n.ID, 0, true)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if err := indent(s.out, log); err != nil {
		return err
	}
	return s.awaitEnd(ctx, n.ID)
}

// indent copies lines as they come.
func indent(w io.Writer, r io.Reader) error {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		for line := range strings.Lines(string(buf[:n])) {
			fmt.Fprint(w, "   │ "+line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// awaitEnd waits for a job and prints how it ended.
func (s *show) awaitEnd(ctx context.Context, id string) error {
	job, err := s.client.Await(ctx, id)
	if err != nil {
		return err
	}
	took := time.Duration(0)
	if job.StartedAt != nil && job.EndedAt != nil {
		took = job.EndedAt.Sub(*job.StartedAt).Round(10 * time.Millisecond)
	}
	fmt.Fprintf(s.out, "   %s %s after %s", job.Dispatcher, job.State, took)
	if len(job.Result) > 0 {
		fmt.Fprintf(s.out, ", result %s", job.Result)
	}
	if job.Error != nil {
		fmt.Fprintf(s.out, " (%s)", job.Error.Message)
	}
	fmt.Fprintln(s.out)
	return nil
}

// coalescing notifies one dispatcher twenty times at once.
func (s *show) coalescing(ctx context.Context) error {
	s.heading("Twenty clients apply the configuration at once: the ones that can join, join")
	var mu sync.Mutex
	var failed error
	jobs := map[string]int{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			n, err := s.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: "apply"})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			jobs[n.ID]++
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	for id, clients := range jobs {
		fmt.Fprintf(s.out, "   %s serves %s\n", id, ipc.Counted(clients, "client"))
	}
	for id := range jobs {
		if err := s.awaitEnd(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// full fills a queue beyond its bound.
func (s *show) full(ctx context.Context) error {
	s.heading("A queue with room for two, asked three times")
	var last string
	for i := range 3 {
		n, err := s.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: "upgrade"})
		if p, ok := errors.AsType[*ipc.Error](err); ok && p.Kind == ipc.KindQueueFull {
			fmt.Fprintf(s.out, "   %d: refused: %s; retry after %d s\n", i+1, p.Detail, p.RetryAfter)
			continue
		}
		if err != nil {
			return err
		}
		last = n.ID
		fmt.Fprintf(s.out, "   %d: %s\n", i+1, n.Words())
	}
	return s.awaitEnd(ctx, last)
}

// timeout runs a job that does not end.
func (s *show) timeout(ctx context.Context) error {
	s.heading("A job that ignores SIGTERM, with timeout = 1 and kill_grace = 1")
	n, err := s.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: "stuck"})
	if err != nil {
		return err
	}
	return s.awaitEnd(ctx, n.ID)
}

// cache reads data that a schedule keeps fresh.
func (s *show) cache(ctx context.Context) error {
	s.heading("Data that a schedule keeps fresh, and that everybody reads at once")
	due, err := s.client.Schedule(ctx, ipc.ScheduleQuery{Dispatcher: "load", Next: 1})
	if err != nil {
		return err
	}
	d, err := s.client.Cache(ctx, "load", ipc.CacheQuery{Wait: 10 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = d.Data.Close() }()
	text, err := io.ReadAll(d.Data)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   %s, %d s old", strings.TrimSpace(string(text)), d.Age)
	for _, one := range due {
		fmt.Fprintf(s.out, "; %s, next at %s", strings.Join(one.Schedule, ", "), one.Next[0].Format(time.TimeOnly))
	}
	fmt.Fprintln(s.out)
	return nil
}

// history lists all jobs.
func (s *show) history(ctx context.Context) error {
	s.heading("Everybody can see what happened")
	jobs, err := s.client.Jobs(ctx, ipc.JobFilter{})
	if err != nil {
		return err
	}
	for _, j := range jobs {
		fmt.Fprintf(s.out, "   %s  %-8s %-10s notified by %d\n", j.ID, j.Dispatcher, j.State, 1+j.CoalescedCount)
	}
	return nil
}
