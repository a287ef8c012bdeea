//go:build linux && crash

package crash

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// killShims kills some of the box's supervisors, or all.
func (r *round) killShims() {
	all := r.rng.IntN(2) == 0
	for pid, argv := range cmdlines() {
		if !r.isShim(pid, argv) || (!all && r.rng.IntN(2) == 0) {
			continue
		}
		if unix.Kill(pid, unix.SIGKILL) == nil {
			r.figures.shimKills++
			r.book.shims[argv[len(argv)-1]] = true
			for _, job := range r.served(pid) {
				r.book.shims[job] = true
			}
		}
	}
}

// served lists the jobs that a process has supervised, by the attempts' files. The
// command line may still be that of the daemon before the exec, or name the job
// before: a supervisor that serves the next one says so a moment later.
func (r *round) served(pid int) (jobs []string) {
	files, _ := filepath.Glob(r.Path("run/jobs/*.run"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		if strings.Contains(string(text), `"shim":{"pid":`+strconv.Itoa(pid)+",") {
			job, _, _ := strings.Cut(filepath.Base(name), "-")
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// isShim reports whether a process is a supervisor of this box: the small
// program, or the daemon's with the verb shim. The last argument is the job's id.
// binfmt_misc starts an emulator as "EMULATOR PATH ARGV0 ARGUMENT...".
func (r *round) isShim(pid int, argv []string) bool {
	program := exe(pid)
	if filepath.Dir(program) != r.Dir && len(argv) > 3 {
		program, argv = argv[1], argv[2:]
	}
	return program == r.Path("dispatchd-shim") || program == r.Program && len(argv) > 1 && argv[1] == "shim"
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
