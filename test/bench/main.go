// Command bench measures the daemon, its supervisor and its tiny client against
// floors that it measures in the same run, in turn: figures of a machine that
// others use too drift, their ratios hardly do. It prints a table and judges
// nothing unless -strict is given.
//
//	go run ./test/bench                          # everything, some ten minutes
//	go run ./test/bench -list                    # what there is
//	go run ./test/bench -rounds 3 -only gap,idle # some of it
//	go run ./test/bench -bin DIR                 # the programs of another release
//
// Each round gives one figure, mostly a median of many; the table shows the
// median of the rounds with the least and the greatest. testdata/before.txt is
// what the release before the redesign of issue 11 gave.
//
// Where others keep the processors busy, a chain of processes that wake each
// other waits behind them at each link, and a loop of one process hardly does:
// the default path fell from 0.09 of its floor to 0.03 at load 15. Run it as
// root by "chrt -r 1" there; everything that it starts inherits that.
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
	"slices"
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
		{"start", "from the start of dispatch-notify to the job's first instruction, against a spawn in C", measureStart},
		{"trip", "a notify on a kept connection, against an echo server in C; both asked by the same C client", measureTrip},
		{"cache", "a read of a cache's data on a kept connection, against one of the health", measureCache},
		{"default", "/bin/true with the defaults (supervisor, disk), against os/exec in a loop", measureDefault},
		{"queue", "/bin/true as a direct child, relaxed, against os/exec in a loop", measureQueue},
		{"lock", "/bin/true through three dispatchers that share a lock, direct and relaxed, against os/exec in a loop", measureLock},
		{"gap", "from one job's end to the start of the next, against a spawn loop in C", measureGap},
		{"cost", "processor time of a job's supervisor, above /bin/true's, against an empty Go program's", measureCost},
		{"shim", "what it takes that a job outlives its daemon", measureShim},
		{"depth", "100,000 queued jobs", measureDepth},
		{"restart", "a start of the daemon with 100,000 queued jobs, against reading and decoding the same file", measureRestart},
		{"idle", "an idle daemon with 20 dispatchers", measureIdle},
	}
}

// errUsage is a wrong command line, of which flag has told already.
var errUsage = errors.New("usage")

// order is what a command line asks for.
type order struct {
	lab
	chosen       []benchmark
	list, strict bool
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (order, error) {
	var o order
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.IntVar(&o.rounds, "rounds", 5, "measure everything so often")
	set.IntVar(&o.scale, "scale", 100, "percent of the usual counts: less is quicker and rougher")
	set.DurationVar(&o.rest, "rest", 30*time.Second, "how long an idle daemon is watched")
	set.StringVar(&o.dir, "dir", os.TempDir(), "where the daemons' roots are: the disk that is measured")
	set.StringVar(&o.bin, "bin", "", "measure the programs in this directory instead of building this source's")
	set.BoolVar(&o.list, "list", false, "say what there is, and measure nothing")
	set.BoolVar(&o.strict, "strict", false, "exit with 1 where a target is missed")
	set.Func("only", "measure these `NAMES` alone, with commas between them; may be given again", o.choose)
	if err := set.Parse(args); err != nil {
		return o, errUsage
	}
	if set.NArg() > 0 || o.rounds < 1 || o.scale < 1 {
		set.Usage()
		return o, errUsage
	}
	if len(o.chosen) == 0 {
		o.chosen = benchmarks()
	}
	return o, nil
}

// choose adds benchmarks by their names.
func (o *order) choose(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		all := benchmarks()
		i := slices.IndexFunc(all, func(b benchmark) bool { return b.name == name })
		if i < 0 {
			return fmt.Errorf("no benchmark %q, see -list", name)
		}
		o.chosen = append(o.chosen, all[i])
	}
	return nil
}

// run is the whole command.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case err != nil:
		return 2
	case o.list:
		for _, b := range o.chosen {
			fmt.Fprintf(stdout, "%-8s %s\n", b.name, b.about)
		}
		return 0
	}
	if err := o.open(ctx); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	defer o.close()
	fmt.Fprintf(stdout, "%s, %d processors, %s, %s, %d rounds at %d %%\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), machine(), runtime.Version(), o.rounds, o.scale)
	missed, broken := 0, false
	for _, b := range o.chosen {
		fmt.Fprintf(stdout, "\n%s: %s\n", b.name, b.about)
		figures, err := b.measure(ctx, &o.lab)
		missed += print(stdout, figures)
		if err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", b.name, err)
			broken = true
		}
	}
	if broken || (o.strict && missed > 0) {
		return 1
	}
	return 0
}
