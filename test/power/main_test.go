//go:build linux && power

package power

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"dispatchd/test/box"
)

// options are the test's flags.
type options struct {
	cuts   int
	points int
	full   int    // seconds
	seed   uint64 // 0 = another one each time
}

var opt options

func TestMain(m *testing.M) {
	flag.IntVar(&opt.cuts, "cuts", 0, "power cuts (0 = 30, with -short 12)")
	flag.IntVar(&opt.points, "points", 0, "calls that fail, of each sort (0 = 12, with -short 6)")
	flag.IntVar(&opt.full, "full", 0, "seconds for which the disk is full (0 = 10, with -short 3)")
	flag.Uint64Var(&opt.seed, "seed", 0, "of all random choices (0 = a new one)")
	flag.Parse()
	if err := ownMounts(); err != nil {
		fmt.Fprintln(os.Stderr, "mounts of our own:", err)
	}
	opt.complete()
	os.Exit(box.Main(m))
}

// ownMounts executes the test again in a mount namespace of its own: whatever
// becomes of it, its mounts go with it. Without root there are no mounts.
func ownMounts() error {
	const mark = "DISPATCHD_POWER_MOUNTS"
	if os.Geteuid() != 0 || os.Getenv(mark) != "" {
		return nil
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	if out, err := exec.Command(unshare, "--mount", "--propagation", "private", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv := append([]string{"unshare", "--mount", "--propagation", "private", self}, os.Args[1:]...)
	return syscall.Exec(unshare, argv, append(os.Environ(), mark+"=own"))
}

// complete fills in what was not said.
func (o *options) complete() {
	o.cuts = box.OrDefault(o.cuts, 30, 12)
	o.points = box.OrDefault(o.points, 12, 6)
	o.full = box.OrDefault(o.full, 10, 3)
	o.seed = cmp.Or(o.seed, rand.Uint64())
}

// stock is the daemon as it is.
func stock(t *testing.T) string {
	t.Helper()
	return box.Program(t, "dispatchd")
}

// unsynced builds a daemon that answers without any sync: the control.
func unsynced(t *testing.T) string {
	t.Helper()
	return box.Variant(t, []box.Patch{
		{"daemon/internal/store/disk_linux.go", "{ return unix.Fdatasync(int(f.Fd())) }", "{ return nil }"},
		{"daemon/internal/store/disk.go", "\treturn errors.Join(f.Sync(), f.Close())\n", "\treturn f.Close()\n"},
	})
}

// random makes a source of choices: the same seed and lane give the same ones.
func random(lane uint64) *rand.Rand { return rand.New(rand.NewPCG(opt.seed, lane)) }
