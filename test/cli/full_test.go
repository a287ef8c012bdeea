//go:build linux

package cli

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// fill writes a file until its disk takes no more, and gives its path.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{64 << 10, 1 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	_ = f.Close()
}

// mounted makes a small disk of a directory of the box.
func mounted(t *testing.T, b *box.Box, name, size string) {
	t.Helper()
	if err := os.MkdirAll(b.Path(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", b.Path(name), "tmpfs", 0, "mode=0755,size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(b.Path(name), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// A full disk of state, or a full run directory, costs no accepted job: each waits,
// says for what, and runs once when there is room, under a supervisor and without one,
// with arguments and without.
func TestFullDisks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	t.Parallel()
	for _, full := range []string{"state", "run"} {
		t.Run(full, func(t *testing.T) {
			t.Parallel()
			script := "echo applying; echo $DISPATCHD_JOB_ID >> $BOX/ran'\nmax_queue = 0\nqueue_timeout = 0\n"
			b := box.New(t, map[string]string{
				"shim":   "script = '" + script,
				"direct": "survive_restart = false\nscript = '" + script,
				"data":   "script = 'echo 1; echo $DISPATCHD_JOB_ID >> $BOX/ran'\nqueue_timeout = 0\n[cache]\nmax_age = 1\n",
			})
			mounted(t, b, full, "8m")
			b.Start()
			t.Cleanup(b.End)
			b.Await(b.Notify("shim", "").ID) // the journal has its space
			fill(t, b.Path(full+"/filler"))
			var ids []string
			for _, name := range []string{"shim", "direct", "data", "shim", "direct"} {
				args := `{"a":"` + strings.Repeat("x", 100) + `"}`
				if len(ids)%2 == 0 {
					args = ""
				}
				ids = append(ids, b.Notify(name, args).ID)
			}
			for _, id := range ids[:3] {
				job, err := b.Client.Job(t.Context(), id)
				if w := job.WaitingFor; err != nil || w == nil || w.Reason != ipc.WaitDisk || !strings.Contains(w.Detail, b.Path(full)) {
					t.Errorf("%s: %s %+v, waits for %+v, %v", id, job.State, job.Error, w, err)
				}
			}
			if out, _, code := b.Run("dispatchctl", "status"); code != 0 || !strings.Contains(out, "no job starts: the disk of "+b.Path(full)) {
				t.Errorf("status: exit %d, %s", code, out)
			}
			if out, _, _ := b.Run("dispatchctl", "doctor"); !strings.Contains(out, "no job starts: the disk of "+b.Path(full)) {
				t.Errorf("doctor: %s", out)
			}
			if out, _, code := b.Run("dispatchctl", "why", ids[0]); code != 0 || !strings.Contains(out, "waits for room on a disk") {
				t.Errorf("why: exit %d, %s", code, out)
			}
			if err := os.Remove(b.Path(full + "/filler")); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				if job := b.Await(id); job.State != ipc.Succeeded || job.Attempt != 1 {
					t.Errorf("%s: %s, attempt %d, %+v", id, job.State, job.Attempt, job.Error)
				}
			}
			ran := b.Read("ran")
			for _, id := range ids {
				if n := strings.Count(ran, id); n != 1 {
					t.Errorf("%s ran %d times", id, n)
				}
			}
		})
	}
}

// A supervisor that cannot be executed fails no job: it waits until there is one.
func TestSupervisorAway(t *testing.T) {
	t.Parallel()
	b := box.New(t, map[string]string{"op": "queue_timeout = 0\nscript = 'echo ran'\n"})
	dir := b.Path("bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dispatchd", "dispatchd-shim"} {
		if out, err := exec.Command("cp", box.Program(t, name), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	b.Program = dir + "/dispatchd"
	b.Start()
	t.Cleanup(b.End)
	if err := os.Rename(dir+"/dispatchd-shim", dir+"/away"); err != nil {
		t.Fatal(err)
	}
	n := b.Notify("op", "")
	for {
		job, err := b.Client.Job(t.Context(), n.ID)
		if err != nil || job.State.Final() {
			t.Fatalf("%s %+v, %v", job.State, job.Error, err)
		}
		if w := job.WaitingFor; w != nil && strings.Contains(w.Detail, "dispatchd-shim") {
			break
		}
	}
	if err := os.Rename(dir+"/away", dir+"/dispatchd-shim"); err != nil {
		t.Fatal(err)
	}
	if job := b.Await(n.ID); job.State != ipc.Succeeded || job.Attempt != 1 {
		t.Errorf("%s, attempt %d, %+v", job.State, job.Attempt, job.Error)
	}
}
