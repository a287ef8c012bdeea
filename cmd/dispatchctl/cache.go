package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// cacheVerb groups the verbs about caches.
func (a *app) cacheVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache", Short: "List, read and refresh caches", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return console.UnknownVerb(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.cacheListVerb(), a.cacheGetVerb(), a.cacheRefreshVerb(false))
	return cmd
}

// cacheListVerb lists the caches.
func (a *app) cacheListVerb() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List caches with their age", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.api().Caches(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printLines(&a.screen, all)
			}
			if len(all) == 0 {
				a.talk("no dispatcher has a [cache]")
				return nil
			}
			t := a.table("CACHE", "STATE", "AGE", "MAX AGE", "SIZE", "LAST ERROR")
			for _, c := range all {
				t.Row(c.Name, cacheState(c), cacheAge(c), maxAge(c), humanize.IBytes(uint64(max(0, c.Size))), cacheError(c))
			}
			return a.show(t)
		},
	}
}

// cacheState is a cache's state in a word.
func cacheState(c ipc.Cache) string {
	switch {
	case c.Refreshing != "":
		return "refreshing"
	case c.RefreshedAt == nil:
		return "empty"
	case c.Fresh:
		return "fresh"
	}
	return "stale"
}

// cacheAge is how old the data is.
func cacheAge(c ipc.Cache) string {
	switch {
	case c.RefreshedAt == nil:
		return "-"
	case c.FromFuture:
		return "in the future"
	}
	return (time.Duration(c.Age) * time.Second).String()
}

// maxAge is how old it may get.
func maxAge(c ipc.Cache) string {
	if c.MaxAge == 0 {
		return "any"
	}
	return (time.Duration(c.MaxAge) * time.Second).String()
}

// cacheError is why the last refresh failed.
func cacheError(c ipc.Cache) string {
	if c.Error == nil {
		return "-"
	}
	return c.Error.Message
}

// cacheGetVerb prints a cache's data.
func (a *app) cacheGetVerb() *cobra.Command {
	var q ipc.CacheQuery
	var maxAge time.Duration
	var stale, raw bool
	cmd := &cobra.Command{
		Use: "get NAME", Short: "Print a cache's data, and nothing else, on standard output",
		Long: `get prints a cache's data. Older data than --max-age has the cache refreshed: with --wait it
is waited for, else the older data is printed and standard error says so, unless
--stale-ok=false.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("max-age") {
				q.MaxAge = &maxAge
			}
			if cmd.Flags().Changed("stale-ok") {
				q.StaleOK = &stale
			}
			return a.cacheGet(cmd.Context(), args[0], q, raw)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&maxAge, "max-age", 0, "take nothing older than this `DURATION` (default what the cache says)")
	f.DurationVar(&q.Wait, "wait", 0, "wait for a refresh, at most this `DURATION`")
	f.BoolVar(&stale, "stale-ok", true, "take older data rather than none (default what the cache says)")
	f.Lookup("stale-ok").DefValue = ""
	rawFlag(cmd, &raw)
	return cmd
}

// cacheGet prints the data on standard output, and its age on standard error
// where it is stale.
func (a *app) cacheGet(ctx context.Context, name string, q ipc.CacheQuery, raw bool) error {
	d, err := a.api().Cache(ctx, name, q)
	if err != nil {
		return err
	}
	defer func() { _ = d.Data.Close() }()
	to, done := a.out.Job(raw, a.palette().On())
	if _, err := io.Copy(to, d.Data); err != nil {
		return fmt.Errorf("cache %s: the data broke off: %w", name, err)
	}
	if err := done(); err != nil {
		return err
	}
	if d.Fresh || a.quiet {
		return nil
	}
	note := []string{fmt.Sprintf("stale: %s old", cacheAge(d.Cache))}
	if d.FromFuture {
		note[0] = "stale: its time is in the future, since a clock was wrong"
	}
	if d.Refreshing != "" {
		note = append(note, "job "+d.Refreshing+" refreshes it")
	}
	if d.Error != nil {
		note = append(note, "its last refresh failed: "+d.Error.Message)
	}
	a.complain("dispatchctl: cache %s is %s", name, strings.Join(note, "; "))
	return nil
}

// cacheRefreshVerb refreshes a cache and waits for it. The pfSense REST API calls
// it refreshcache.
func (a *app) cacheRefreshVerb(original bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "refresh NAME", Short: "Refresh a cache now, and wait for it", Args: cobra.ExactArgs(1), ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := a.isCache(ctx, args[0]); err != nil {
				return err
			}
			n, err := a.ask(ctx, &request{}, args)
			if err != nil {
				return err
			}
			a.onInterruptOf(n.ID)
			a.talk("%s", n.Words())
			job, err := a.await(ctx, n.ID, 0)
			if err != nil {
				return err
			}
			return a.ended(job, &request{}, true)
		},
	}
	if original {
		cmd.Use, cmd.Hidden = "refreshcache NAME", true
	}
	return cmd
}

// isCache refuses a dispatcher without a cache, so that refresh never runs an
// operation.
func (a *app) isCache(ctx context.Context, name string) error {
	all, err := a.api().Caches(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range all {
		if c.Name == name {
			return nil
		}
		names = append(names, c.Name)
	}
	p := ipc.Errorf(ipc.KindCacheUnknown, "no cache is named %q", name)
	p.Dispatcher = name
	if near := ipc.Nearest(name, names); near != "" {
		p.Suggestion = "did you mean " + near + "?"
	}
	return p
}
