//go:build linux && crash

package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"dispatchd/test/sources"

	"golang.org/x/sys/unix"
)

// options are the test's flags.
type options struct {
	kills     int    // of the sweep
	points    int    // of strace
	histories int    // for the linearizability checker
	boxes     int    // at a time
	seed      uint64 // 0 = another one each time
	keep      bool
}

var (
	opt options
	bin string // where the programs are built
)

func TestMain(m *testing.M) {
	flag.IntVar(&opt.kills, "kills", 0, "SIGKILLs of the sweep (0 = 1350, with -short 100)")
	flag.IntVar(&opt.points, "points", 0, "kills at the Nth file call (0 = 150, with -short 10)")
	flag.IntVar(&opt.histories, "histories", 0, "histories that must be linearizable (0 = 500, with -short 50)")
	flag.IntVar(&opt.boxes, "boxes", 2, "daemons at a time")
	flag.Uint64Var(&opt.seed, "seed", 0, "of all random choices (0 = a new one)")
	flag.BoolVar(&opt.keep, "keep", false, "keep the directories of rounds that found something")
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	opt.kills = sources.OrDefault(opt.kills, 1350, 100)
	opt.points = sources.OrDefault(opt.points, 150, 10)
	opt.histories = sources.OrDefault(opt.histories, 500, 50)
	if opt.seed == 0 {
		opt.seed = rand.Uint64()
	}
	dir, err := os.MkdirTemp("", "crash-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	for _, pkg := range []string{"dispatchd/cmd/dispatchd", "dispatchd/test/crash/stamp"} {
		if out, err := sources.Build(pkg, filepath.Join(dir, filepath.Base(pkg))); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// random makes a source of choices: the same seed and lane give the same ones.
func random(lane uint64) *rand.Rand { return rand.New(rand.NewPCG(opt.seed, lane)) }

// now is the clock that the children stamp with.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}
