//go:build linux

package power

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// options are the test's flags.
type options struct {
	cuts   int
	points int
	full   int    // seconds
	seed   uint64 // 0 = another one each time
}

var (
	opt options
	bin string // where the programs are built
)

func TestMain(m *testing.M) {
	flag.IntVar(&opt.cuts, "cuts", 0, "power cuts (0 = 30, with -short 12)")
	flag.IntVar(&opt.points, "points", 0, "calls that fail, of each sort (0 = 12, with -short 6)")
	flag.IntVar(&opt.full, "full", 0, "seconds for which the disk is full (0 = 10, with -short 3)")
	flag.Uint64Var(&opt.seed, "seed", 0, "of all random choices (0 = a new one)")
	flag.Parse()
	if err := ownMounts(); err != nil {
		fmt.Fprintln(os.Stderr, "mounts of our own:", err)
	}
	os.Exit(run(m))
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

func run(m *testing.M) int {
	opt.cuts = orDefault(opt.cuts, 30, 12)
	opt.points = orDefault(opt.points, 12, 6)
	opt.full = orDefault(opt.full, 10, 3)
	if opt.seed == 0 {
		opt.seed = rand.Uint64()
	}
	dir, err := os.MkdirTemp("", "power-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	if out, err := build(stock()); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// stock is the daemon as it is.
func stock() string { return filepath.Join(bin, "dispatchd") }

// orDefault is a flag's value, or the one for this length of run.
func orDefault(n, normal, short int) int {
	switch {
	case n != 0:
		return n
	case testing.Short():
		return short
	}
	return normal
}

// build compiles the daemon without cgo, as it is shipped.
func build(to string, flags ...string) ([]byte, error) {
	cmd := exec.Command("go", append(append([]string{"build", "-o", to}, flags...), "dispatchd/cmd/dispatchd")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
}

// unsynced builds a daemon that answers without any sync: the control. The
// source itself stays as it is.
func unsynced(t *testing.T) string {
	t.Helper()
	replace := map[string]string{}
	for file, patch := range map[string][2]string{
		"disk_linux.go": {"{ return unix.Fdatasync(int(f.Fd())) }", "{ return nil }"},
		"disk.go":       {"\treturn errors.Join(f.Sync(), f.Close())\n", "\treturn f.Close()\n"},
	} {
		path, err := filepath.Abs(filepath.Join("../../daemon/internal/store", file))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), patch[0]); n != 1 {
			t.Fatalf("%s has %q %d times, want it once: the source has changed, patch it anew", file, patch[0], n)
		}
		replace[path] = filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(text), patch[0], patch[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(t.TempDir(), "overlay.json"), filepath.Join(t.TempDir(), "dispatchd")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := build(program, "-overlay="+list); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// random makes a source of choices: the same seed and lane give the same ones.
func random(lane uint64) *rand.Rand { return rand.New(rand.NewPCG(opt.seed, lane)) }
