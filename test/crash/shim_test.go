//go:build linux && crash

package crash

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// shimmed says whether this daemon runs jobs under shims. It looks at a job:
// its parent is the daemon, or a shim.
func shimmed(t *testing.T) bool {
	t.Helper()
	b := newBox(t, stock(), []rule{{name: "probe", survive: true}})
	l, err := b.rise()
	if err != nil {
		t.Fatal(err)
	}
	defer l.kill()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := b.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	if job, err := b.client.Await(ctx, n.ID); err != nil || job.State != ipc.Succeeded {
		t.Fatalf("the probe: %s %+v, %v", job.State, job.Error, err)
	}
	runs, err := readStamps(b.path("stamps"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("the probe: %d runs, %v", len(runs), err)
	}
	return runs[0].parent != l.cmd.Process.Pid
}

// killShims kills some of the box's shims, or all.
func (r *round) killShims() {
	all := r.rng.IntN(2) == 0
	for pid, argv := range cmdlines() {
		if len(argv) != 4 || argv[1] != "shim" || exe(pid) != r.daemon || (!all && r.rng.IntN(2) == 0) {
			continue
		}
		if unix.Kill(pid, unix.SIGKILL) == nil {
			r.figures.shimKills++
			r.book.shims[argv[3]] = true
		}
	}
}

// cmdlines are the command lines of all processes that have one.
func cmdlines() map[int][]string {
	found := map[int][]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if argv := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"); !slices.Equal(argv, []string{""}) {
			found[pid] = argv
		}
	}
	return found
}

// exe is the program that a process runs.
func exe(pid int) string {
	path, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	return path
}
