// Command bench measures the daemon and its tiny client against floors that it
// measures in the same run, in turn: figures of a machine that others use too
// drift, their ratios hardly do. It prints a table and judges nothing unless
// -strict is given.
//
//	go run ./test/bench                       # everything, some minutes
//	go run ./test/bench -rounds 3 notify idle # some of it
//
// Each round gives one figure, mostly a median of many; the table shows the
// median of the rounds with the least and the greatest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// benchmark is one group of figures.
type benchmark struct {
	name, about string
	measure     func(context.Context, *lab) ([]figure, error)
}

// benchmarks are all of them, in the order of the table.
func benchmarks() []benchmark {
	return []benchmark{
		{"notify", "dispatch-notify as a whole process, against a Go program that does nothing but connect, write and read", measureNotify},
		{"trip", "a notify on a kept connection, against an echo server in C; both asked by the same C client", measureTrip},
		{"cache", "a read of a cache's data on a kept connection, against one of the health", measureCache},
		{"queue", "runs of /bin/true through one queue, against os/exec in a loop", measureQueue},
		{"depth", "100,000 queued jobs", measureDepth},
		{"idle", "an idle daemon", measureIdle},
		{"shim", "what it costs that a job outlives its daemon", measureShim},
	}
}

// errUsage is a wrong command line, of which flag has told already.
var errUsage = errors.New("usage")

// parse reads the command line.
func parse(args []string, stderr io.Writer) (lab, []benchmark, bool, error) {
	var l lab
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprintln(stderr, "usage: bench [flags] [NAME…]")
		for _, b := range benchmarks() {
			fmt.Fprintf(stderr, "  %-8s %s\n", b.name, b.about)
		}
		set.PrintDefaults()
	}
	set.IntVar(&l.rounds, "rounds", 5, "measure everything so often")
	set.IntVar(&l.scale, "scale", 100, "percent of the usual counts: less is quicker and rougher")
	set.DurationVar(&l.rest, "rest", 30*time.Second, "how long an idle daemon is watched")
	set.StringVar(&l.dir, "dir", os.TempDir(), "where the daemons' roots are: the disk that is measured")
	set.StringVar(&l.bin, "bin", "", "use the programs in this directory instead of building them")
	strict := set.Bool("strict", false, "exit with 1 where a target is missed")
	if err := set.Parse(args); err != nil {
		return l, nil, false, errUsage
	}
	var chosen []benchmark
	for _, b := range benchmarks() {
		if set.NArg() == 0 || contains(set.Args(), b.name) {
			chosen = append(chosen, b)
		}
	}
	if len(chosen) < set.NArg() || l.rounds < 1 || l.scale < 1 {
		set.Usage()
		return l, nil, false, errUsage
	}
	return l, chosen, *strict, nil
}

// contains is for the few words of a command line.
func contains(list []string, s string) bool {
	return strings.Contains("\n"+strings.Join(list, "\n")+"\n", "\n"+s+"\n")
}

// run is the whole command.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	l, chosen, strict, err := parse(args, stderr)
	if err != nil {
		return 2
	}
	l.log = stderr
	if err := l.open(ctx); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	defer l.close()
	fmt.Fprintf(stdout, "%s, %d processors, %s, %s, %d rounds at %d %%\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), machine(), runtime.Version(), l.rounds, l.scale)
	missed, broken := 0, false
	for _, b := range chosen {
		fmt.Fprintf(stdout, "\n%s: %s\n", b.name, b.about)
		figures, err := b.measure(ctx, &l)
		missed += print(stdout, figures)
		if err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", b.name, err)
			broken = true
		}
	}
	if broken || (strict && missed > 0) {
		return 1
	}
	return 0
}
