package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// install puts the programs of a build in the place of those that are there, as a
// package manager does: by rename.
func install(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"dispatchd", "dispatchd-shim"} {
		in, err := os.Open(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.OpenFile(filepath.Join(to, ".new"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
		if err == nil {
			_, err = io.Copy(out, in)
			err = errors.Join(err, in.Close(), out.Close(), os.Rename(filepath.Join(to, ".new"), filepath.Join(to, name)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Over an upgrade to another build and back, whose supervisors read another version of
// the launch, each job ends once, as itself: those that run, direct and supervised, and
// those that are queued. While a program of the other build lies beside the daemon of
// this one, a start is put off, and no job fails.
func TestUpgradeBetweenBuilds(t *testing.T) {
	t.Parallel()
	stock := box.Programs(t)
	other := filepath.Dir(box.Variant(t, []box.Patch{
		{"daemon/internal/shim/record.go", "recordHead = \"dispatchd launch 3\\n\"", "recordHead = \"dispatchd launch 9\\n\""},
	}))
	definitions := map[string]string{
		"after": "max_queue = 0\nqueue_timeout = 0\nscript = 'echo after >> $BOX/ran; exit 7'\n",
	}
	for name, text := range map[string]string{"shim": "", "direct": "survive_restart = false\n", "tree": "kill_mode = 'tree'\n"} {
		definitions[name] = text + "queue_timeout = 0\nscript = 'echo " + name + " >> $BOX/ran; test -e $BOX/" + name + ".done || read -r _ < $BOX/" + name + ".gate || :; touch $BOX/" + name + ".done; exit 5'\n"
	}
	b := box.New(t, definitions)
	bin := t.TempDir()
	install(t, stock, bin)
	b.Program = filepath.Join(bin, "dispatchd")
	b.Start()
	defer b.End()
	gates, ids := map[string]*os.File{}, map[string]string{}
	var queued []string
	for _, name := range []string{"shim", "direct", "tree"} {
		gates[name], ids[name] = b.Gated(name+".gate", name)
		queued = append(queued, b.Notify(name, "").ID)
	}
	upgrade := func(from string) string {
		install(t, from, bin)
		id := b.Notify("after", "").ID // its supervisor is of the other build, perhaps
		if out, errw, code := b.Run("dispatchctl", "upgrade"); code != 0 {
			t.Fatalf("upgrade: exit %d, %s%s", code, out, errw)
		}
		return id
	}
	var after []string
	for _, from := range []string{other, stock, other, stock} {
		after = append(after, upgrade(from))
		for name, id := range ids {
			if j, err := b.Client.Job(t.Context(), id); err != nil || j.State != ipc.Running || j.Attempt != 1 {
				t.Errorf("%s: %s, attempt %d, %v", name, j.State, j.Attempt, err)
			}
		}
	}
	for _, gate := range gates {
		_ = gate.Close()
	}
	for _, id := range after {
		if j := b.Await(id); j.ExitCode == nil || *j.ExitCode != 7 || j.Attempt != 1 {
			t.Errorf("%s: %s, attempt %d, %+v", id, j.State, j.Attempt, j.Error)
		}
	}
	for _, id := range queued {
		if j := b.Await(id); j.ExitCode == nil || *j.ExitCode != 5 || j.Attempt != 1 {
			t.Errorf("%s: %s, attempt %d, %+v", id, j.State, j.Attempt, j.Error)
		}
	}
	for name, id := range ids {
		if j := b.Await(id); j.ExitCode == nil || *j.ExitCode != 5 || j.Attempt != 1 {
			t.Errorf("%s: %s, attempt %d, %+v", name, j.State, j.Attempt, j.Error)
		}
	}
	counts := map[string]int{}
	for line := range strings.FieldsSeq(b.Read("ran")) {
		counts[line]++
	}
	if counts["shim"] != 2 || counts["direct"] != 2 || counts["tree"] != 2 || counts["after"] != 4 {
		t.Errorf("ran %v", counts)
	}
}
