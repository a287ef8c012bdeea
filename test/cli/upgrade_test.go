package cli

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

var upgrades = flag.Int("upgrades", 10, "upgrades in place under load")

// Upgrades in place under a loop of notifies: no connection is refused, no job
// lost, running jobs go on and end with their own exit codes.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{
		"load":   "max_queue = 0\nscript = 'echo $DISPATCHD_JOB_ID >> $BOX/ran'\n",
		"plain":  "max_queue = 0\nsurvive_restart = false\ndurability = 'memory'\nscript = 'echo $DISPATCHD_JOB_ID >> $BOX/ran'\n",
		"shim":   "script = 'echo \"5 half\" >&3; read go < $BOX/gate1 || :; exit 41'\n[locks]\nexclusive = ['l']\n",
		"direct": "survive_restart = false\nscript = 'echo \"5 half\" >&3; read go < $BOX/gate2 || :; echo last words; exit 42'\n",
	})
	gate1, shim := b.Gated("gate1", "shim")
	gate2, direct := b.Gated("gate2", "direct")
	var mu sync.Mutex
	var ids []string
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, name := range []string{"load", "plain"} {
		for range 2 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					id, err := box.Post(b.Client.Socket, name)
					if err != nil {
						t.Errorf("notify: %v", err)
						return
					}
					mu.Lock()
					ids = append(ids, id)
					mu.Unlock()
				}
			})
		}
	}
	for i := range *upgrades {
		if out, errw, code := b.Run("dispatchctl", "--json", "upgrade"); code != 0 {
			t.Fatalf("upgrade %d: exit %d, %s%s", i, code, out, errw)
		}
		if !t.Failed() {
			continue
		}
		break
	}
	close(stop)
	wg.Wait()
	for _, job := range []struct {
		gate *os.File
		id   string
		code int
	}{{gate1, shim, 41}, {gate2, direct, 42}} {
		if j, err := b.Client.Job(t.Context(), job.id); err != nil || j.State != ipc.Running || j.Progress == nil || j.Progress.Message != "half" {
			t.Errorf("job of before: %+v %v", j, err)
		}
		_ = job.gate.Close()
		if j := b.Await(job.id); j.ExitCode == nil || *j.ExitCode != job.code || j.Attempt != 1 {
			t.Errorf("job of before ended as %s, %+v, want exit code %d", j.State, j.Error, job.code)
		}
	}
	for _, id := range ids {
		if j := b.Await(id); j.State != ipc.Succeeded {
			t.Errorf("job %s: %s %+v", id, j.State, j.Error)
		}
	}
	counts := map[string]int{}
	for id := range strings.FieldsSeq(b.Read("ran")) {
		counts[id]++
	}
	for _, id := range ids {
		if counts[id] != 1 {
			t.Errorf("job %s ran %d times", id, counts[id])
		}
	}
	t.Logf("%d upgrades, %d jobs", *upgrades, len(ids))
}

// A stop leaves jobs under shims alone, ends the others, and refuses what comes
// meanwhile; the next daemon knows all of it. A second daemon is refused.
func TestStop(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{
		"keep":   "script = 'read go < $BOX/gate1 || :; exit 9'\n",
		"direct": "survive_restart = false\nkill_grace = 1\nscript = 'read go < $BOX/gate2 || :; sleep 100'\n",
		"never":  "kill_mode = 'none'\nsurvive_restart = false\nscript = 'read go < $BOX/gate3 || :; exit 10'\n",
	})
	gate1, keep := b.Gated("gate1", "keep")
	gate2, direct := b.Gated("gate2", "direct")
	gate3, never := b.Gated("gate3", "never")
	second := exec.Command(box.Program(t, "dispatchd"), "--root", b.Dir)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "another daemon uses") {
		t.Errorf("a second daemon: %v, %s", err, out)
	}
	if _, errw, code := b.Run("dispatchctl", "cancel", never); code != ipc.ExitUsage || !strings.Contains(errw, "must not be killed") {
		t.Errorf("cancel with kill_mode none: exit %d, %s", code, errw)
	}
	b.Stop()
	_ = gate1.Close()
	_ = gate2.Close()
	b.Start()
	if j := b.Await(keep); j.ExitCode == nil || *j.ExitCode != 9 {
		t.Errorf("job under a shim: %s %+v", j.State, j.Error)
	}
	if j := b.Await(direct); j.State != ipc.Interrupted {
		t.Errorf("direct child: %s %+v", j.State, j.Error)
	}
	if j, err := b.Client.Job(t.Context(), never); err != nil || j.State != ipc.Running {
		t.Errorf("kill_mode none: %s %v", j.State, err)
	}
	_ = gate3.Close()
	if j := b.Await(never); j.ExitCode == nil || *j.ExitCode != 10 {
		t.Errorf("kill_mode none: %s %+v", j.State, j.Error)
	}
}
