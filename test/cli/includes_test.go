package cli

import (
	"errors"
	"os"
	"testing"

	"dispatchd/ipc"
)

// TestIncludes: a script's includes are judged when a job is asked for and
// again when it starts, not only when the definition is read.
func TestIncludes(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": `
script = "from_include"
package_includes = ["$BOX/inc.sh"]`})
	inc := b.Path("inc.sh")
	refused := func(want ipc.Kind) {
		t.Helper()
		_, err := b.Client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "op"})
		if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != want {
			t.Errorf("answer %v, want %s", err, want)
		}
	}
	refused(ipc.KindIncludeMissing)
	b.Write("inc.sh", "from_include() { echo loaded; }\n")
	if job := b.Await(b.Notify("op", "").ID); job.State != ipc.Succeeded {
		t.Errorf("with its include: %s, %+v", job.State, job.Error)
	}
	if err := os.Chmod(inc, 0o666); err != nil {
		t.Fatal(err)
	}
	refused(ipc.KindDispatcherDisabled)

	// Accepted while it was good, opened to others before the start.
	if err := os.Chmod(inc, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client.Pause(t.Context(), "op", true); err != nil {
		t.Fatal(err)
	}
	id := b.Notify("op", "").ID
	if err := os.Chmod(inc, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client.Pause(t.Context(), "op", false); err != nil {
		t.Fatal(err)
	}
	if job := b.Await(id); job.State != ipc.Failed || job.Error == nil || job.Error.Kind != ipc.KindDispatcherDisabled {
		t.Errorf("opened to others: %s, %+v", job.State, job.Error)
	}
}
