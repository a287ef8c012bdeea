package daemon

import (
	"encoding/json"
	"strings"
	"testing"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// What a job said of its failure becomes part of its error only where it failed
// by its own exit status.
func TestVerdictOwnWords(t *testing.T) {
	r := &run{spec: &dispatchers.Spec{SuccessExitCodes: []int{0, 3}}}
	long := json.RawMessage(`"` + strings.Repeat("é", maxOwnWords) + `"`)
	for _, c := range []struct {
		exit    proc.Exit
		message string
		detail  json.RawMessage
	}{
		{proc.Exit{Code: 1}, "exit status 1", nil},
		{proc.Exit{Code: 1, Failure: json.RawMessage(`"two\n lines"`)}, "exit status 1: two lines", json.RawMessage(`"two\n lines"`)},
		{proc.Exit{Code: 70, Failure: json.RawMessage(`{"message":"no","code":424}`)}, "exit status 70: no", json.RawMessage(`{"message":"no","code":424}`)},
		{proc.Exit{Code: 1, Failure: json.RawMessage(`[1]`)}, "exit status 1", json.RawMessage(`[1]`)},
		{proc.Exit{Code: 1, Failure: long}, "exit status 1: " + strings.Repeat("é", maxOwnWords/2) + "…", long},
		{proc.Exit{Signal: "SIGKILL", Failure: json.RawMessage(`"words"`)}, "ended by signal SIGKILL", nil},
	} {
		state, why := verdict(r, c.exit, false)
		if state != ipc.Failed || why.Message != c.message || string(why.Detail) != string(c.detail) {
			t.Errorf("%+v: %s %q, detail %s", c.exit, state, why.Message, why.Detail)
		}
	}
	if state, why := verdict(r, proc.Exit{Code: 3, Failure: json.RawMessage(`"words"`)}, false); state != ipc.Succeeded || why != nil {
		t.Errorf("a success with an error line: %s %+v", state, why)
	}
}
