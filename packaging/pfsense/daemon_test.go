//go:build pfsense

package pfsense

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// A php_class is run by the bridge; what it says is in the job.
func TestPHPClass(t *testing.T) {
	b := newBox(t, map[string]string{
		"echo":   `php_class = "EchoDispatcher"`,
		"typed":  "php_class = 'RESTAPI\\Dispatchers\\TypedDispatcher'\npackage_includes = [\"$BOX/standin/extra.inc\"]",
		"ending": `php_class = "EndingDispatcher"`,
		"absent": `php_class = "NoDispatcher"`,
	})
	args := `{"0":"it's \"quoted\" $(x) ü😀","big":"` + strings.Repeat("ab c", 25<<10) + `"}`
	job := b.Await(b.Notify("echo", args).ID)
	var result struct {
		Returned struct {
			Arguments map[string]string `json:"arguments"`
		} `json:"returned"`
	}
	if job.State != ipc.Succeeded || !strings.Contains(string(job.Result), "EchoDispatcher") {
		t.Errorf("large arguments: %s %+v, result %.200s", job.State, job.Error, job.Result)
	}
	if log := b.Log(job.ID); log != fmt.Sprintf("async is false, the greeting is hello\n%x\n", sha256.Sum256([]byte(args))) {
		t.Errorf("the sum of large arguments: %q", log)
	}
	args = strings.ReplaceAll(args, "ab c", "")
	if job = b.Await(b.Notify("echo", args).ID); json.Unmarshal(job.Result, &result) != nil || result.Returned.Arguments["0"] != `it's "quoted" $(x) ü😀` {
		t.Errorf("result %s", job.Result)
	}
	if job := b.Await(b.Notify("typed", `{"id":4}`).ID); job.State != ipc.Succeeded || !strings.Contains(string(job.Result), `"extra 4"`) {
		t.Errorf("with its include: %s %+v %s", job.State, job.Error, job.Result)
	}
	job = b.Await(b.Notify("ending", `{"how":"problem","code":424}`).ID)
	var detail problem
	if job.Error == nil || json.Unmarshal(job.Error.Detail, &detail) != nil || detail.ResponseID != "ENDING_PROBLEM" ||
		job.Error.Message != "exit status 69: refused: 424" || *job.ExitCode != 69 {
		t.Errorf("%s %+v %s", job.State, job.Error, job.Error.Detail)
	}
	if job := b.Await(b.Notify("ending", `{"how":"memory"}`).ID); job.Error == nil || *job.ExitCode != 255 || !strings.Contains(job.Error.Message, "Allowed memory size") {
		t.Errorf("%s %+v", job.State, job.Error)
	}
	if job := b.Await(b.Notify("absent", "").ID); job.Error == nil || *job.ExitCode != 69 {
		t.Errorf("%s %+v", job.State, job.Error)
	}
}

// The bridge is trusted as a definition is, and its absence is said at notify.
func TestPHPBridgeTrust(t *testing.T) {
	b := newBox(t, map[string]string{"echo": `php_class = "EchoDispatcher"`})
	refused := func(want ipc.Kind) {
		t.Helper()
		_, err := b.Client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "echo"})
		if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != want {
			t.Errorf("answer %v, want %s", err, want)
		}
	}
	bridge := b.Path("php/bridge.php")
	if err := os.Chmod(bridge, 0o666); err != nil {
		t.Fatal(err)
	}
	refused(ipc.KindDispatcherDisabled)
	if err := os.Remove(bridge); err != nil {
		t.Fatal(err)
	}
	refused(ipc.KindIncludeMissing)
}

// A cache's data is what the class gave; a failed refresh keeps the old.
func TestPHPCache(t *testing.T) {
	b := newBox(t, map[string]string{
		"data":  "php_class = \"DataCache\"\n[cache]\nmax_age = \"1h\"\n[environment]\nSTANDIN_CACHE = \"$BOX\"\n",
		"empty": "php_class = \"EmptyCache\"\n[cache]\nmax_age = \"1h\"\n",
	})
	if job := b.Await(b.Notify("data", "").ID); job.State != ipc.Succeeded {
		t.Fatalf("%s %+v: %s", job.State, job.Error, b.Log(job.ID))
	}
	out, _, code := b.Run("dispatchctl", "cache", "get", "data")
	if code != 0 || !strings.HasPrefix(out, `{"list":[1,2],`) {
		t.Errorf("exit %d: %s", code, out)
	}
	job := b.Await(b.Notify("empty", "").ID)
	if job.State != ipc.Failed || !strings.Contains(job.Error.Message, "no data") {
		t.Errorf("%s %+v", job.State, job.Error)
	}
}
