package cli

import (
	"strconv"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// Arguments that no environment can have reach their job on standard input all the
// same, under a supervisor and without one.
func TestLargeArguments(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{
		"shim":   "command = ['/usr/bin/wc', '-c']\n",
		"direct": "survive_restart = false\nscript = 'echo \"$DISPATCHD_ARGS_OMITTED ${DISPATCHD_ARG_Y-none}\"; wc -c'\n",
	})
	one := `{"X":"` + strings.Repeat("x", 200000) + `","Y":"1"}`
	var many []string
	for len(many) < 9 {
		many = append(many, `"A`+string(rune('A'+len(many)))+`":"`+strings.Repeat("x", 100000)+`"`)
	}
	all := "{" + strings.Join(many, ",") + "}"
	for _, args := range []string{one, all} {
		job := b.Await(b.Notify("shim", args).ID)
		if got := strings.TrimSpace(b.Log(job.ID)); job.State != ipc.Succeeded || got != strconv.Itoa(len(args)) {
			t.Errorf("%d bytes: %s %+v, %q", len(args), job.State, job.Error, got)
		}
	}
	job := b.Await(b.Notify("direct", one).ID)
	if got := strings.TrimSpace(b.Log(job.ID)); job.State != ipc.Succeeded || got != "DISPATCHD_ARG_X 1\n"+strconv.Itoa(len(one)) {
		t.Errorf("%s %+v, %q", job.State, job.Error, got)
	}
	if _, errw, code := b.Run("dispatchctl", "notify", "shim", `{"a-b":1,"a_b":2}`); code != ipc.ExitBadArguments || !strings.Contains(errw, `"a-b" and "a_b"`) {
		t.Errorf("exit %d, %s", code, errw)
	}
}
