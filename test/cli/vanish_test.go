package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// removing are the ways in which somebody empties the run directory.
func removing() map[string]func(b *box.Box) {
	glob := func(pattern string) func(*box.Box) {
		return func(b *box.Box) {
			list, _ := filepath.Glob(b.Path(pattern))
			for _, path := range list {
				_ = os.RemoveAll(path)
			}
		}
	}
	return map[string]func(*box.Box){
		"records": glob("run/jobs/*.run"), "sockets": glob("run/jobs/*.sock"), "ends": glob("run/jobs/*.status.new"), "epoch": glob("run/jobs/epoch"),
		"all": glob("run/jobs/*"), "jobs": glob("run/jobs"), "run": glob("run"),
	}
}

// happening is what becomes of the daemon when the files are gone.
func happening() map[string]func(b *box.Box) {
	return map[string]func(*box.Box){
		"goes on": func(*box.Box) {},
		"upgrade": func(b *box.Box) {
			if out, errw, code := b.Run("dispatchctl", "upgrade"); code != 0 {
				b.T.Fatalf("upgrade: exit %d, %s%s", code, out, errw)
			}
		},
		"restart": func(b *box.Box) { b.Stop(); b.Start() },
		"crash":   func(b *box.Box) { b.Kill(); b.Start() },
	}
}

// A running job whose files in the run directory are removed runs once, as one attempt,
// with its own end, and the next one of its dispatcher after it, whatever becomes of the
// daemon meanwhile.
func TestFilesRemovedWhileItRuns(t *testing.T) {
	for what, remove := range removing() {
		for then, happens := range happening() {
			if what == "run" && then != "restart" && then != "crash" {
				continue // the socket is gone as well
			}
			t.Run(what+" "+then, func(t *testing.T) {
				t.Parallel()
				b := newBox(t, map[string]string{
					"op": "max_queue = 0\nscript = 'echo begin >> $BOX/ran; test -e $BOX/second || read -r _ < $BOX/gate || :; touch $BOX/second; echo end >> $BOX/ran; exit 41'\n",
				})
				gate, first := b.Gated("gate", "op")
				second := b.Notify("op", "").ID
				if then == "restart" || then == "crash" {
					b.Kill()
					remove(b)
					b.Start()
				} else {
					remove(b)
				}
				happens(b)
				if j, err := b.Client.Job(t.Context(), first); err != nil || j.State != ipc.Running || j.Attempt != 1 {
					t.Errorf("the first job: %s, attempt %d, %v", j.State, j.Attempt, err)
				}
				_ = gate.Close()
				for _, id := range []string{first, second} {
					if j := b.Await(id); j.State != ipc.Failed || j.ExitCode == nil || *j.ExitCode != 41 || j.Attempt != 1 {
						t.Errorf("job %s: %s, attempt %d, %+v", id, j.State, j.Attempt, j.Error)
					}
				}
				if got := b.Read("ran"); got != "begin\nend\nbegin\nend\n" {
					t.Errorf("ran %q", got)
				}
			})
		}
	}
}

// Where its supervisor is killed as well, the end of such a job is not known: it is
// interrupted, or runs again as the next attempt, as its definition says.
func TestFilesRemovedAndSupervisorKilled(t *testing.T) {
	for what, remove := range removing() {
		if what == "run" {
			continue
		}
		for _, up := range []bool{true, false} {
			t.Run(what+map[bool]string{true: " up", false: " down"}[up], func(t *testing.T) {
				t.Parallel()
				const script = "script = 'echo $DISPATCHD_ATTEMPT >> $BOX/NAME; test $DISPATCHD_ATTEMPT = 2 || read -r _ < $BOX/NAME.gate || :'\n"
				b := newBox(t, map[string]string{
					"fail":  strings.ReplaceAll(script, "NAME", "fail"),
					"rerun": "on_interrupt = 'rerun'\n" + strings.ReplaceAll(script, "NAME", "rerun"),
				})
				_, fail := b.Gated("fail.gate", "fail")
				_, rerun := b.Gated("rerun.gate", "rerun")
				pids := []int{supervisorOf(t, b, fail), supervisorOf(t, b, rerun)}
				if !up {
					b.Kill()
				}
				remove(b)
				for _, pid := range pids {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
				}
				if !up {
					b.Start()
				}
				if j := b.Await(fail); j.State != ipc.Interrupted || j.Attempt != 1 {
					t.Errorf("fail: %s, attempt %d, %+v", j.State, j.Attempt, j.Error)
				}
				if j := b.Await(rerun); j.State != ipc.Succeeded || j.Attempt != 2 {
					t.Errorf("rerun: %s, attempt %d, %+v", j.State, j.Attempt, j.Error)
				}
				if got := b.Read("fail") + b.Read("rerun"); got != "1\n1\n2\n" {
					t.Errorf("ran %q", got)
				}
			})
		}
	}
}

// supervisorOf is the process of a job's supervisor.
func supervisorOf(t *testing.T, b *box.Box, id string) int {
	t.Helper()
	var start struct {
		Shim struct{ PID int }
	}
	line, _, _ := strings.Cut(b.Read("run/jobs/"+id+"-1.run"), "\n")
	if err := json.Unmarshal([]byte(line), &start); err != nil || start.Shim.PID == 0 {
		t.Fatalf("%q: %v", line, err)
	}
	return start.Shim.PID
}
