//go:build linux && crash

package crash

import (
	"cmp"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"dispatchd/test/box"

	"golang.org/x/sys/unix"
)

// options are the test's flags.
type options struct {
	kills     int    // of the sweep
	points    int    // of strace
	histories int    // for the linearizability checker
	boxes     int    // at a time
	pace      int    // how many times longer a life is
	seed      uint64 // 0 = another one each time
	keep      bool
}

var opt options

func TestMain(m *testing.M) {
	flag.IntVar(&opt.kills, "kills", 0, "SIGKILLs of the sweep (0 = 1350, with -short 100)")
	flag.IntVar(&opt.points, "points", 0, "kills at the Nth file call (0 = 150, with -short 10)")
	flag.IntVar(&opt.histories, "histories", 0, "histories that must be linearizable (0 = 500, with -short 50)")
	flag.IntVar(&opt.boxes, "boxes", 2, "daemons at a time")
	flag.IntVar(&opt.pace, "pace", 1, "how many times longer the daemon lives: an emulated one does all more slowly")
	flag.Uint64Var(&opt.seed, "seed", 0, "of all random choices (0 = a new one)")
	flag.BoolVar(&opt.keep, "keep", false, "keep the directories of rounds that found something")
	flag.Parse()
	opt.complete()
	os.Exit(box.Main(m))
}

// complete fills in what was not said.
func (o *options) complete() {
	o.kills = box.OrDefault(o.kills, 1350, 100)
	o.points = box.OrDefault(o.points, 150, 10)
	o.histories = box.OrDefault(o.histories, 500, 50)
	o.seed = cmp.Or(o.seed, rand.Uint64())
}

// stamp is the program that the jobs run. It is built as the daemon is, for the
// same machine.
func stamp(t testing.TB) string {
	t.Helper()
	dir := box.Programs(t)
	path := filepath.Join(dir, "stamp")
	builtStamp.Do(func() {
		if out, err := box.Build(path, "dispatchd/test/crash/stamp"); err != nil {
			t.Errorf("build: %v\n%s", err, out)
		}
	})
	return path
}

// builtStamp is done once stamp lies beside the programs.
var builtStamp sync.Once

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
