package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc/lockfile"
)

// What the daemon holds is held by descriptors, and found by others by name: its
// socket, the lock of its state directory, the files of jobs' locks, its journal,
// its directories. Names go: cleaners remove old files below /run and /tmp, and
// people remove directories. So once a minute, whenever somebody asks for the status
// and at a reload, the daemon looks whether each name still means what it holds, and
// makes good what it can.

// lookEvery is how often that is.
const lookEvery = time.Minute

// toldFor is how long the status tells of what was found.
const toldFor = time.Hour

// maxNotices bounds what is told at once.
const maxNotices = 20

// notice is one thing that was found.
type notice struct {
	what string
	at   time.Time // of the monotonic clock
}

// watch is what the daemon knows of its own files. Any goroutine may use it.
type watch struct {
	mu      sync.Mutex
	notices []notice
	socket  fs.FileInfo   // as it was made, nil = it was gone at once
	serves  bool          // there is a socket
	rebind  chan struct{} // has one when the socket is to be made again

	journal *store.Journal // to be looked at; records go through the state's
	looking sync.Mutex     // one look at a time
}

// note keeps what was found for the status. It reports whether that is news.
func (w *watch) note(now time.Time, what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := false
	w.notices = slices.DeleteFunc(w.notices, func(n notice) bool {
		known = known || n.what == what
		return n.what == what || now.Sub(n.at) > toldFor
	})
	w.notices = append(w.notices, notice{what, now})
	if more := len(w.notices) - maxNotices; more > 0 {
		w.notices = slices.Delete(w.notices, 0, more)
	}
	return !known
}

// told is what was found lately.
func (w *watch) told(now time.Time) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, n := range w.notices {
		if now.Sub(n.at) <= toldFor {
			list = append(list, n.what)
		}
	}
	return list
}

// hasSocket notes the socket's file. From then on the watch has it made again.
func (w *watch) hasSocket(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.socket, _ = os.Lstat(path)
	w.serves = true
}

// isSocket reports whether the socket's name means the file that was made.
func (w *watch) isSocket(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, err := os.Lstat(path)
	return err == nil && w.socket != nil && os.SameFile(now, w.socket)
}

// lookAtSocket asks for another socket where the name of this one means nothing, or
// something else.
func (w *watch) lookAtSocket(path string) {
	if w.isSocket(path) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.serves {
		return
	}
	select {
	case w.rebind <- struct{}{}:
	default: // it is asked for already
	}
}

// found logs and keeps what is wrong with a file of ours. The log has it each time,
// for each time something took it away.
func (h *host) found(err error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if err != nil {
		what += fmt.Sprintf(", and cannot be: %v", err)
	}
	if h.watch.note(time.Now(), what) || err == nil {
		h.log.Error("a file of the daemon's own was taken away", "what", what)
	}
}

// look looks at everything but the locks of running jobs, which the loop knows. It
// may wait for a disk, and so must not run on the loop.
func (h *host) look() {
	h.watch.looking.Lock()
	defer h.watch.looking.Unlock()
	h.keepRunDir()
	p := h.cfg.Paths
	if again, err := h.dir.KeepLock(); again || err != nil {
		h.found(err, "the lock of %s was removed or replaced; it is made again", p.State)
	}
	if again, err := h.dir.KeepLogs(); again || err != nil {
		h.found(err, "the directory %s/logs was removed; it is made again", p.State)
	}
	h.keepCacheDir()
	h.watch.journal.Look()
	h.watch.lookAtSocket(p.Socket())
}

// reinstated hears of the journal, on its writer's goroutine, that its file was gone
// from its place.
func (h *host) reinstated(aside string, err error) {
	more, p := "", h.cfg.Paths
	if aside != "" {
		more = "; what was in its place is kept as " + aside
	}
	h.found(err, "the journal in %s was removed or replaced; it is put in its place again%s", p.State, more)
}

// lookNow looks at everything at once, for somebody who asks how the daemon is.
func (h *host) lookNow(ctx context.Context) {
	h.look()
	_ = h.view(ctx, (*state).lookAtJobs) // else it stops
}

// keepRunDir makes the run directory and those below it again where they are
// missing.
func (h *host) keepRunDir() {
	for _, dir := range runDirs(h.cfg.Paths) {
		if missing(dir) {
			h.found(makeRunDir(h.cfg.Paths, h.settings.SocketGroup), "the directory %s was removed; it is made again", dir)
		}
	}
}

// missing reports whether nothing is there.
func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// keepCacheDir makes the directory of caches again where it is missing.
func (h *host) keepCacheDir() {
	if again, err := h.caches.KeepDir(); again || err != nil {
		h.found(err, "the directory %s was removed; it is made again", h.cfg.Paths.Cache)
	}
}

// lookAtJobs has the locks of running jobs be found held: what a job holds is known to
// the loop, whatever became of the lock's file.
func (s *state) lookAtJobs() {
	for a := range s.attempts() {
		names, err := s.runner.Retake(a.Attempt, lockfile.Holder{Job: a.Job.ID, PID: os.Getpid()})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a directory is made again first
			s.log.Error("a lock's file cannot be made again", "job", a.Job.ID, "error", err)
		}
		for _, name := range names {
			s.found(nil, "the file of lock %s was removed while job %s held it; it is made again", name, a.Job.ID)
		}
	}
	if missing(s.epochFile()) {
		if err := s.writeEpoch(); err != nil {
			s.log.Error("run directory: its epoch cannot be written", "error", err)
		}
	}
}

// lookWhenDue looks once a minute.
func (s *state) lookWhenDue() {
	if s.lookAt == 0 || s.now() < s.lookAt {
		return
	}
	s.lookAt = s.now() + lookEvery
	h := s.host
	go func() {
		h.look()
		h.post(func(s *state) { s.lookAtJobs() })
	}()
}
