package shim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers/mode"
	"dispatchd/test/box"
)

// programs builds an empty Go program and the supervisor, as they are shipped.
func programs(b *testing.B) (empty, supervisor string) {
	b.Helper()
	box.Look(b)
	dir := b.TempDir()
	source := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	empty, supervisor = filepath.Join(dir, "empty"), filepath.Join(dir, Name)
	for program, from := range map[string]string{empty: source, supervisor: "dispatchd/cmd/dispatchd-shim"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, from)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	return empty, supervisor
}

// spent is the processor time of all children that have been waited for, with theirs.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// runProgram runs a program to its end, as cheaply as a supervisor is started.
func runProgram(b *testing.B, path string) {
	b.Helper()
	pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{Env: []string{"GOMAXPROCS=1"}, Files: []uintptr{0, 1, 2}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
		b.Fatal(err)
	}
}

// bench is a run directory in memory, as on an appliance.
func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shim-")
	if errors.Is(err, os.ErrNotExist) {
		dir, err = os.MkdirTemp("", "shim-")
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// benchLaunch is a launch of /bin/true as the daemon makes them.
func benchLaunch(dir, id string) proc.Launch {
	files := proc.AttemptFiles(filepath.Join(dir, id+"-1"))
	return proc.Launch{
		Job: id, Dispatcher: "bench", Files: files, Argv: []string{"/bin/true"},
		Env: strings.Fields("PATH=/bin LANG=C.UTF-8 HOME=/ USER=root DISPATCHD_JOB_ID=x DISPATCHD_DISPATCHER=bench DISPATCHD_ATTEMPT=1"),
		Dir: "/", Umask: 0o022, OutputFile: filepath.Join(dir, "out"), NotifySocket: files.Notify(),
		Timeout: 5 * time.Minute, Grace: 10 * time.Second, KillMode: mode.Group, Leftovers: mode.Leave, MaxOutput: 1 << 20, Boot: proc.BootID(),
	}
}

// costs are processor times by what spent them.
type costs [3][]float64

// The places in costs.
const (
	emptyGo = iota
	binTrue
	supervised
)

// measure counts what the children of fn cost that it waits for, for each of n jobs.
func (c *costs) measure(b *testing.B, what, n int, fn func()) {
	before := spent(b)
	fn()
	c[what] = append(c[what], float64(spent(b)-before)/float64(n))
}

// report tells the medians.
func (c *costs) report(b *testing.B) {
	var m [3]float64
	for i := range c {
		slices.Sort(c[i])
		m[i] = c[i][len(c[i])/2]
	}
	b.ReportMetric(m[emptyGo]/1e3, "empty-µs")
	b.ReportMetric(m[binTrue]/1e3, "true-µs")
	b.ReportMetric(m[supervised]/1e3, "supervised-µs")
	b.ReportMetric((m[supervised]-m[binTrue])/m[emptyGo], "×empty")
}

// BenchmarkCost tells what a supervisor costs above its job, /bin/true, as a ratio to
// an empty Go program, all three in turn. Run it with -benchtime=200x.
func BenchmarkCost(b *testing.B) {
	empty, supervisor := programs(b)
	dir := benchDir(b)
	var c costs
	for b.Loop() {
		c.measure(b, emptyGo, 1, func() { runProgram(b, empty) })
		c.measure(b, binTrue, 1, func() { runProgram(b, "/bin/true") })
		c.measure(b, supervised, 1, func() {
			l := benchLaunch(dir, "01J0000000000000000000000A")
			job, err := Start([]string{supervisor}, l, nil, true, ignore)
			if err != nil {
				b.Fatal(err)
			}
			if x := job.Exit(); x.Code != 0 || x.Err != nil {
				b.Fatalf("%+v", x)
			}
			waitReaped(b, job)
			l.Files.Remove()
		})
	}
	c.report(b)
}

// BenchmarkRow tells the same of 100 jobs in a row that one supervisor serves, a job.
// Run it with -benchtime=5x.
func BenchmarkRow(b *testing.B) {
	const row = 100
	empty, supervisor := programs(b)
	dir := benchDir(b)
	var c costs
	for b.Loop() {
		c.measure(b, emptyGo, row, func() {
			for range row {
				runProgram(b, empty)
			}
		})
		c.measure(b, binTrue, row, func() {
			for range row {
				runProgram(b, "/bin/true")
			}
		})
		c.measure(b, supervised, row, func() { runRow(b, supervisor, dir, row) })
	}
	c.report(b)
}

// runRow has one supervisor serve n jobs.
func runRow(b *testing.B, supervisor, dir string, n int) {
	b.Helper()
	var spare *Spare
	var last *Client
	for i := range n {
		l := benchLaunch(dir, fmt.Sprintf("01J%023d", i))
		var err error
		if spare == nil {
			last, err = Start([]string{supervisor}, l, nil, true, ignore)
		} else {
			last, err = spare.Next(l, nil, ignore)
		}
		if err != nil {
			b.Fatal(err)
		}
		if x := last.Exit(); x.Code != 0 || x.Err != nil {
			b.Fatalf("%+v", x)
		}
		if spare = last.Spare(); spare == nil {
			b.Fatal("the supervisor has not stayed")
		}
		l.Files.Remove()
	}
	spare.Discard()
	waitReaped(b, last)
}

// waitReaped waits until a supervisor has been waited for.
func waitReaped(b *testing.B, c *Client) {
	b.Helper()
	ticker := time.NewTicker(100 * time.Microsecond)
	defer ticker.Stop()
	for syscall.Kill(c.PID(), 0) == nil {
		<-ticker.C
	}
}
