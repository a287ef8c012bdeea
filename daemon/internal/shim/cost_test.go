package shim

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/daemon/internal/proc"
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

// BenchmarkCost tells what a supervisor costs above its job, /bin/true, as a ratio to
// an empty Go program, all three in turn. Run it with -benchtime=200x.
func BenchmarkCost(b *testing.B) {
	empty, supervisor := programs(b)
	dir := benchDir(b)
	var cost [3][]float64
	measure := func(i int, fn func()) {
		before := spent(b)
		fn()
		cost[i] = append(cost[i], float64(spent(b)-before))
	}
	for b.Loop() {
		measure(0, func() { runProgram(b, empty) })
		measure(1, func() { runProgram(b, "/bin/true") })
		measure(2, func() {
			l := proc.Launch{
				Job: "01J0000000000000000000000A", Dispatcher: "bench", Files: proc.AttemptFiles(filepath.Join(dir, "job-1")),
				Argv: []string{"/bin/true"}, Env: strings.Fields("PATH=/bin LANG=C.UTF-8 HOME=/ USER=root DISPATCHD_JOB_ID=x DISPATCHD_DISPATCHER=bench DISPATCHD_ATTEMPT=1"),
				Dir: "/", Umask: -1, OutputFile: filepath.Join(dir, "out"), NotifySocket: filepath.Join(dir, "job-1.notify"),
				Timeout: 5 * time.Minute, Grace: 10 * time.Second, KillMode: "group", Leftovers: "leave", MaxOutput: 1 << 20,
				Boot: proc.BootID(),
			}
			c, err := Start([]string{supervisor}, l, nil, ignore)
			if err != nil {
				b.Fatal(err)
			}
			if x := c.Exit(); x.Code != 0 || x.Err != nil {
				b.Fatalf("%+v", x)
			}
			waitReaped(b, c)
			l.Files.Remove()
		})
	}
	for i := range cost {
		slices.Sort(cost[i])
	}
	median := func(i int) float64 { return cost[i][len(cost[i])/2] }
	b.ReportMetric(median(0)/1e3, "empty-µs")
	b.ReportMetric(median(1)/1e3, "true-µs")
	b.ReportMetric(median(2)/1e3, "supervised-µs")
	b.ReportMetric((median(2)-median(1))/median(0), "×empty")
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
