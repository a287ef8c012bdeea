package daemon

import (
	"os"
	"slices"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// A directory of definitions that cannot be read takes nothing away: jobs that
// were accepted wait, a reload keeps what is in force, and everybody is told.
func TestDirectoryThatCannotBeRead(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{"op": "command = ['true']\n"}
	at := ipc.RootPaths(root).Dispatchers
	breakIt := func() {
		t.Helper()
		// To root every directory is readable, but for one that is none.
		if err := os.Rename(at, at+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mend := func() {
		t.Helper()
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at+".away", at); err != nil {
			t.Fatal(err)
		}
	}
	b := boxed(t, root, files)
	if _, err := b.Pause(t.Context(), ipc.Peer{}, "op", true); err != nil {
		t.Fatal(err)
	}
	n, err := b.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"})
	if err != nil {
		t.Fatal(err)
	}
	breakIt()
	if r, err := b.Reload(t.Context(), ipc.Peer{}, false); err != nil || len(r.Removed) > 0 || len(r.Faults) != 1 {
		t.Errorf("a reload of nothing: %+v, %v", r, err)
	}
	if _, err := b.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); err != nil {
		t.Errorf("after it: %v", err)
	}
	b.close()

	b = boxed(t, root, nil)
	defer b.close()
	job, err := b.Job(t.Context(), ipc.Peer{}, n.ID)
	if err != nil || job.State != ipc.Queued || job.WaitingFor == nil || !strings.Contains(job.WaitingFor.Detail, "not a directory") {
		t.Errorf("the job is %s, %+v, %v", job.State, job.WaitingFor, err)
	}
	if _, err := b.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); !isKind(err, ipc.KindDispatcherDisabled) || !strings.Contains(err.Error(), at) {
		t.Errorf("a notify: %v", err)
	}
	if s, err := b.Status(t.Context(), ipc.Peer{}); err != nil || !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, at) }) {
		t.Errorf("status: %q, %v", s.Warnings, err)
	}
	mend()
	if r, err := b.Reload(t.Context(), ipc.Peer{}, false); err != nil || !slices.Equal(r.Added, []string{"op"}) {
		t.Errorf("mended: %+v, %v", r, err)
	}
	if _, err := b.Pause(t.Context(), ipc.Peer{}, "op", false); err != nil {
		t.Fatal(err)
	}
	if job, err := b.Await(t.Context(), ipc.Peer{}, n.ID); err != nil || job.State != ipc.Succeeded {
		t.Errorf("the job: %+v, %v", job.Error, err)
	}
}
