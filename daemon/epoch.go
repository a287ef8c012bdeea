package daemon

import (
	"cmp"
	"crypto/sha256"
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
	"dispatchd/scheduler"
)

// jobsDir is where the marks of running attempts are.
func (h *host) jobsDir() string { return jobsDir(h.cfg.Paths) }

// attemptFiles are the files of one attempt.
func (h *host) attemptFiles(id ulid.ULID, attempt int) proc.AttemptFiles {
	return proc.AttemptFiles(filepath.Join(h.jobsDir(), id.String()+"-"+strconv.Itoa(attempt)))
}

// anyBoot stands for the boot where the system has no word for it.
const anyBoot = "boot"

// openEpoch finds out whether the files in the run directory are of this boot. Those of
// another speak of processes that are gone, and are removed. Each start is journaled
// with the boot's epoch, so that a later daemon knows which attempts may still run.
//
// A directory that somebody has emptied meanwhile, this file included, is of the same
// boot still: where the system has a word for the boot, the epoch follows from it.
func (h *host) openEpoch() error {
	h.bootID = proc.BootID()
	thisBoot := cmp.Or(h.bootID, anyBoot)
	h.bootShort = thisBoot[:min(8, len(thisBoot))]
	text, err := os.ReadFile(h.epochFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("run directory: %w", err)
	}
	boot, id, ok := strings.Cut(strings.TrimSpace(string(text)), " ")
	ok = ok && len(id) == ulid.EncodedSize
	switch {
	case ok && boot == thisBoot:
		h.epochID = id
		return nil
	case ok && boot == anyBoot: // of a release that had no word for a boot of this system
		h.epochID = id
	default:
		if ok { // what is here is of another boot
			if err := emptyDirectory(h.jobsDir()); err != nil {
				return fmt.Errorf("run directory: %w", err)
			}
		}
		h.epochID = epochOf(h.bootID)
	}
	return h.writeEpoch()
}

// epochFile says which life of the run directory this is.
func (h *host) epochFile() string { return filepath.Join(h.jobsDir(), "epoch") }

// writeEpoch writes it.
func (h *host) writeEpoch() error {
	path := h.epochFile()
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%s %s\n", cmp.Or(h.bootID, anyBoot), h.epochID), 0o600); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
}

// epochOf is the epoch of a boot. Where the system does not tell boots apart, each that
// is asked for is a new one.
func epochOf(boot string) string {
	if boot == "" {
		return ulid.Make().String()
	}
	sum := sha256.Sum256([]byte("dispatchd epoch " + boot))
	return ulid.ULID(sum[:16]).String()
}

// emptyDirectory removes the files of a directory.
func emptyDirectory(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		_ = os.Remove(filepath.Join(dir, entry.Name()))
	}
	return err
}

// waited is how long ago a job was accepted. Within one boot the wall clock may
// have been set meanwhile, and does not count.
func (h *host) waited(job *store.Job) time.Duration {
	if job.Up > 0 && job.Boot == h.bootShort {
		return max(0, proc.Uptime()-time.Duration(job.Up))
	}
	created := time.Unix(0, job.CreatedAt)
	if !scheduler.Plausible(created) {
		return 0 // a machine without a clock of its own wakes up in 1970: the job would expire at once
	}
	return max(0, time.Since(created))
}

// staleAttemptFiles lists the files of attempts that are over by the journal. They may go
// as soon as the journal says so: until then they are all that knows the end.
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
