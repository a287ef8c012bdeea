package cli

import (
	"os"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// A drain holds until it is taken back: over a crash, a stop and an upgrade. It says
// who wanted it, and since when.
func TestDrainLasts(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "script = 'true'\n"})
	if _, errw, code := b.Run("dispatchctl", "drain"); code != 0 {
		t.Fatal(code, errw)
	}
	before, err := b.Client.Status(t.Context())
	if err != nil || !before.Draining || before.DrainedBy == nil || before.DrainedBy.UID != os.Geteuid() || before.DrainedBy.At.IsZero() {
		t.Fatalf("%+v, %v", before, err)
	}
	for what, again := range map[string]func(){
		"crash":   func() { b.Kill(); b.Start() },
		"stop":    func() { b.Stop(); b.Start() },
		"upgrade": func() { b.Run("dispatchctl", "upgrade") },
		"twice":   func() { b.Run("dispatchctl", "drain") },
	} {
		again()
		if _, _, code := b.Run("dispatch-notify", "op"); code != ipc.ExitBusy {
			t.Errorf("%s: a notify ends with %d", what, code)
		}
		s, err := b.Client.Status(t.Context())
		if err != nil || !s.Draining || s.DrainedBy == nil || !s.DrainedBy.At.Equal(before.DrainedBy.At) || s.DrainedBy.PID != before.DrainedBy.PID || len(s.Paused) > 0 {
			t.Errorf("%s: %+v, %v", what, s.DrainedBy, err)
		}
	}
	if out, _, _ := b.Run("dispatchctl", "status"); !strings.Contains(out, "draining ") || !strings.Contains(out, "by user ") {
		t.Errorf("status: %s", out)
	}
	if _, errw, code := b.Run("dispatchctl", "undrain"); code != 0 {
		t.Fatal(code, errw)
	}
	b.Kill()
	b.Start()
	if s, err := b.Client.Status(t.Context()); err != nil || s.Draining || s.DrainedBy != nil {
		t.Errorf("taken back: %+v, %v", s.DrainedBy, err)
	}
	if job := b.Await(b.Notify("op", "").ID); job.State != ipc.Succeeded {
		t.Error(job.State)
	}
}

// Jobs whose definition is not there when the daemon starts wait for it, whether one
// file is missing or the whole directory, and run when it is back.
func TestDefinitionsMissing(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"dispatchers.d", "dispatchers.d/op.toml"} {
		b := newBox(t, map[string]string{"op": "max_queue = 0\nscript = 'echo $DISPATCHD_JOB_ID >> $BOX/ran'\n"})
		if _, err := b.Client.Pause(t.Context(), "op", true); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for range 5 {
			ids = append(ids, b.Notify("op", "").ID)
		}
		b.Kill()
		if err := os.Rename(b.Path(what), b.Path("away")); err != nil {
			t.Fatal(err)
		}
		b.Start()
		for _, id := range ids {
			job, err := b.Client.Job(t.Context(), id)
			if w := job.WaitingFor; err != nil || job.State != ipc.Queued || w == nil || !strings.HasPrefix(w.Detail, "disabled: ") {
				t.Errorf("%s: %s %+v, %v", what, job.State, w, err)
			}
		}
		out, _, code := b.Run("dispatchctl", "doctor")
		if whole := what == "dispatchers.d"; code != 1 || whole && !strings.Contains(out, "is not there, and op would be defined in it") {
			t.Errorf("%s: doctor, exit %d: %s", what, code, out)
		}
		// A resume is for what is paused and has jobs; the definition is still missing.
		if out, errw, code := b.Run("dispatchctl", "resume", "op"); code != 0 {
			t.Errorf("%s: resume, exit %d: %s%s", what, code, out, errw)
		}
		if job, err := b.Client.Job(t.Context(), ids[0]); err != nil || job.State != ipc.Queued {
			t.Errorf("%s: resumed without a definition: %s, %v", what, job.State, err)
		}
		if err := os.Rename(b.Path("away"), b.Path(what)); err != nil {
			t.Fatal(err)
		}
		if out, errw, code := b.Run("dispatchctl", "reload"); code != 0 {
			t.Errorf("%s: reload, exit %d: %s%s", what, code, out, errw)
		}
		for _, id := range ids {
			if job := b.Await(id); job.State != ipc.Succeeded {
				t.Errorf("%s: %s %+v", what, job.State, job.Error)
			}
		}
	}
}

// A reload while the directory of definitions is away keeps them, and says so.
func TestReloadWithoutDirectory(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "script = 'true'\n"})
	if err := os.Rename(b.Path("dispatchers.d"), b.Path("away")); err != nil {
		t.Fatal(err)
	}
	out, errw, code := b.Run("dispatchctl", "reload")
	if code != ipc.ExitConfiguration || !strings.Contains(out+errw, "is not there, and op would be defined in it") {
		t.Errorf("exit %d: %s%s", code, out, errw)
	}
	if job := b.Await(b.Notify("op", "").ID); job.State != ipc.Succeeded {
		t.Error(job.State)
	}
}

// The queue of a paused dispatcher whose file was removed is not stuck for ever: a
// resume runs it by the definition that it was accepted by.
func TestResumeWithoutFile(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "script = 'true'\n"})
	if _, err := b.Client.Pause(t.Context(), "op", true); err != nil {
		t.Fatal(err)
	}
	n := b.Notify("op", "")
	if err := os.Remove(b.Path("dispatchers.d/op.toml")); err != nil {
		t.Fatal(err)
	}
	if out, errw, code := b.Run("dispatchctl", "reload"); code != 0 {
		t.Fatal(code, out, errw)
	}
	if out, errw, code := b.Run("dispatchctl", "resume", "op"); code != 0 {
		t.Errorf("exit %d: %s%s", code, out, errw)
	}
	if job := b.Await(n.ID); job.State != ipc.Succeeded {
		t.Errorf("%s %+v", job.State, job.Error)
	}
	if _, _, code := b.Run("dispatchctl", "resume", "op"); code != ipc.ExitUnknown {
		t.Errorf("of nothing: exit %d", code)
	}
}
