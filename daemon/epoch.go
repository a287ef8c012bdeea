package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
)

// jobsDir is where the marks of running attempts are.
func (h *host) jobsDir() string { return jobsDir(h.cfg.Paths) }

// attemptFiles are the files of one attempt.
func (h *host) attemptFiles(id ulid.ULID, attempt int) proc.AttemptFiles {
	return proc.AttemptFiles(filepath.Join(h.jobsDir(), id.String()+"-"+strconv.Itoa(attempt)))
}

// openEpoch finds out which life of the run directory this is. The marks in it
// speak of one boot, and only if nobody emptied the directory meanwhile: the
// absence of a mark means "never started" within an epoch, and nothing beyond
// it. So each start is journaled with the epoch, and another boot or an emptied
// directory begin a new one.
func (h *host) openEpoch() error {
	h.bootID = proc.BootID()
	thisBoot := cmp.Or(h.bootID, "boot")
	h.bootShort = thisBoot[:min(8, len(thisBoot))]
	path := filepath.Join(h.jobsDir(), "epoch")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("run directory: %w", err)
	}
	boot, id, ok := strings.Cut(strings.TrimSpace(string(text)), " ")
	if ok && boot == thisBoot && len(id) == ulid.EncodedSize {
		h.epochID = id
		return nil
	}
	// What is here is of another boot: its processes are gone.
	entries, err := os.ReadDir(h.jobsDir())
	if err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	for _, entry := range entries {
		_ = os.Remove(filepath.Join(h.jobsDir(), entry.Name()))
	}
	h.epochID = ulid.Make().String()
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%s %s\n", thisBoot, h.epochID), 0o600); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
}

// waited is how long ago a job was accepted. Within one boot the wall clock may
// have been set meanwhile, and does not count.
func (h *host) waited(job *store.Job) time.Duration {
	if job.Up > 0 && job.Boot == h.bootShort {
		return max(0, proc.Uptime()-time.Duration(job.Up))
	}
	return max(0, time.Since(time.Unix(0, job.CreatedAt)))
}

// staleAttemptFiles lists the mark files of attempts that are over by the journal. They
// may go as soon as the journal says so, too: a start that finds a running job
// without marks takes it for one that never began, and runs it again.
func (s *state) staleAttemptFiles() []string {
	entries, err := os.ReadDir(s.jobsDir())
	if err != nil {
		return nil
	}
	runs := map[string]bool{}
	for d := range s.jobs.Dispatchers() {
		for job := range d.Running {
			st := job.State()
			runs[filepath.Base(string(s.attemptFiles(st.ID, int(st.Attempt))))] = true
		}
	}
	var stale []string
	for _, entry := range entries {
		attempt, _, _ := strings.Cut(entry.Name(), ".")
		word, _, _ := strings.Cut(attempt, "-")
		if _, err := ulid.ParseStrict(word); err == nil && !runs[attempt] {
			stale = append(stale, filepath.Join(s.jobsDir(), entry.Name()))
		}
	}
	return stale
}

// removeAll removes files that nobody needs any more.
func removeAll(paths []string) {
	for _, path := range paths {
		_ = os.Remove(path)
	}
}
