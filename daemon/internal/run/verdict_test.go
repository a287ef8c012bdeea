package run

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// Every way in which an attempt can end has one verdict.
func TestVerdict(t *testing.T) {
	s := &dispatchers.Spec{SuccessExitCodes: []int{0, 3}, Timeout: 90 * time.Second, SurviveRestart: true}
	dies := &dispatchers.Spec{SuccessExitCodes: []int{0}}
	canceled, stopping := Cause{Canceled: true}, Cause{Stopping: true}
	missing := ipc.Errorf(ipc.KindPackageMissing, "package dns is required and not installed")
	for _, c := range []struct {
		name  string
		spec  *dispatchers.Spec
		exit  proc.Exit
		cause Cause
		state ipc.State
		kind  ipc.Kind
		says  string
	}{
		{"success", s, proc.Exit{}, Cause{}, ipc.Succeeded, "", ""},
		{"another success", s, proc.Exit{Code: 3}, Cause{}, ipc.Succeeded, "", ""},
		{"failure", s, proc.Exit{Code: 4}, Cause{}, ipc.Failed, ipc.KindExitStatus, "exit status 4"},
		{"signal", s, proc.Exit{Code: 137, Signal: "SIGKILL"}, Cause{}, ipc.Failed, ipc.KindSignaled, "ended by signal SIGKILL"},
		{"killed for want of memory", s, proc.Exit{Code: 137, Signal: "SIGKILL", Lost: "the system killed it"}, Cause{}, ipc.Failed, ipc.KindSignaled, "ended by signal SIGKILL: the system killed it"},
		{"timeout", s, proc.Exit{Code: 143, Signal: "SIGTERM", TimedOut: true}, Cause{}, ipc.TimedOut, ipc.KindTimeout, "ran longer than its timeout of 1m30s"},
		{"timeout, and then a code", s, proc.Exit{TimedOut: true}, Cause{}, ipc.TimedOut, ipc.KindTimeout, "ran longer than its timeout of 1m30s"},
		{"no start", s, proc.Exit{Err: errors.New("start: no")}, Cause{}, ipc.Failed, ipc.KindStartFailed, "start: no"},
		{"no package", s, proc.Exit{Err: missing}, Cause{}, ipc.Failed, ipc.KindPackageMissing, missing.Error()},
		{"canceled", s, proc.Exit{Code: 143, Signal: "SIGTERM", Canceled: true}, canceled, ipc.Canceled, ipc.KindCanceled, "canceled while it ran"},
		{"canceled as it ended", s, proc.Exit{}, canceled, ipc.Canceled, ipc.KindCanceled, "canceled while it ran"},
		{"canceled, and lost", s, proc.Exit{SupervisorLost: true}, canceled, ipc.Canceled, ipc.KindCanceled, "canceled while it ran"},
		{"canceled by an earlier daemon", s, proc.Exit{Canceled: true}, Cause{}, ipc.Canceled, ipc.KindCanceled, "canceled while it ran"},
		{"died with its daemon", dies, proc.Exit{Canceled: true}, Cause{}, ipc.Interrupted, ipc.KindInterrupted, "the daemon went down while it ran"},
		{"stopped", dies, proc.Exit{Canceled: true}, stopping, ipc.Interrupted, ipc.KindInterrupted, "the daemon was stopped while it ran"},
		{"ended by itself at a stop", dies, proc.Exit{}, stopping, ipc.Succeeded, "", ""},
		{"told to end by a stranger", s, proc.Exit{Canceled: true, Terminated: true, Signal: "SIGTERM"}, Cause{}, ipc.Interrupted, ipc.KindInterrupted, "its supervisor was told to end it (SIGTERM), not by dispatchd"},
		{"told to end, and canceled", s, proc.Exit{Canceled: true, Terminated: true}, canceled, ipc.Canceled, ipc.KindCanceled, "canceled while it ran"},
		{"lost with its daemon", s, proc.Exit{SupervisorLost: true, Lost: "the daemon went down"}, Cause{}, ipc.Interrupted, ipc.KindInterrupted, "the daemon went down"},
		{"lost", s, proc.Exit{SupervisorLost: true}, Cause{}, ipc.Interrupted, ipc.KindInterrupted, "its supervisor was killed while it ran, and its end is not known"},
	} {
		state, why := Verdict(c.spec, c.exit, c.cause)
		if state != c.state || (why == nil) != (c.kind == "") {
			t.Errorf("%s: %s, %+v", c.name, state, why)
			continue
		}
		if why != nil && (why.Kind != c.kind || why.Message != c.says) {
			t.Errorf("%s: %s %q, want %s %q", c.name, why.Kind, why.Message, c.kind, c.says)
		}
	}
}

// The reason that a job gave for its failure is told only where it failed by its
// own exit status.
func TestOwnReason(t *testing.T) {
	s := &dispatchers.Spec{SuccessExitCodes: []int{0, 3}}
	long := json.RawMessage(`"` + strings.Repeat("é", maxReason) + `"`)
	for _, c := range []struct {
		exit    proc.Exit
		message string
		detail  json.RawMessage
	}{
		{proc.Exit{Code: 1}, "exit status 1", nil},
		{proc.Exit{Code: 1, Failure: json.RawMessage(`"two\n lines"`)}, "exit status 1: two lines", json.RawMessage(`"two\n lines"`)},
		{proc.Exit{Code: 70, Failure: json.RawMessage(`{"message":"no","code":424}`)}, "exit status 70: no", json.RawMessage(`{"message":"no","code":424}`)},
		{proc.Exit{Code: 1, Failure: json.RawMessage(`[1]`)}, "exit status 1", json.RawMessage(`[1]`)},
		{proc.Exit{Code: 1, Failure: long}, "exit status 1: " + strings.Repeat("é", maxReason/2) + "…", long},
		{proc.Exit{Signal: "SIGKILL", Failure: json.RawMessage(`"words"`)}, "ended by signal SIGKILL", nil},
	} {
		state, why := Verdict(s, c.exit, Cause{})
		if state != ipc.Failed || why.Message != c.message || string(why.Detail) != string(c.detail) {
			t.Errorf("%+v: %s %q, detail %s", c.exit, state, why.Message, why.Detail)
		}
	}
	if state, why := Verdict(s, proc.Exit{Code: 3, Failure: json.RawMessage(`"words"`)}, Cause{}); state != ipc.Succeeded || why != nil {
		t.Errorf("a success with an error line: %s %+v", state, why)
	}
}

// What is kept of an end has its verdict's reason, and a code only where the child
// chose it.
func TestJudge(t *testing.T) {
	s := spec("x")
	for _, c := range []struct {
		exit proc.Exit
		code bool
	}{
		{proc.Exit{Code: 4}, true},
		{proc.Exit{}, true},
		{proc.Exit{Code: 143, Signal: "SIGTERM"}, false},
		{proc.Exit{Err: errors.New("x")}, false},
		{proc.Exit{SupervisorLost: true}, false},
		{proc.Exit{NotStarted: true}, false},
	} {
		c.exit.Started, c.exit.Ended = time.Unix(1, 0), time.Unix(2, 0)
		res := (&Runner{}).result(&Attempt{Spec: s}, c.exit)
		state, out := res.Judge(s, Cause{})
		_, why := Verdict(s, c.exit, Cause{})
		if (out.ExitCode != nil) != c.code || out.StartedAt != 1e9 || out.EndedAt != 2e9 || out.Signal != c.exit.Signal {
			t.Errorf("%+v: %s, %+v", c.exit, state, out)
		}
		if (why == nil) != (out.Error == nil) || why != nil && out.Error.Message != why.Message {
			t.Errorf("%+v: %+v, verdict %+v", c.exit, out.Error, why)
		}
		if res.Outcome.Error != nil {
			t.Error("a judge changed the result")
		}
		if res.NeverBegan() != c.exit.NotStarted {
			t.Errorf("%+v: never began %t", c.exit, res.NeverBegan())
		}
	}
}

// Retry is for attempts that failed by themselves or were too slow, and for those
// codes alone that the definition names.
func TestRetryable(t *testing.T) {
	some := spec("x")
	some.Retry.ExitCodes = []int{75}
	for _, c := range []struct {
		exit      proc.Exit
		cause     Cause
		all, only bool
	}{
		{proc.Exit{Code: 1}, Cause{}, true, false},
		{proc.Exit{Code: 75}, Cause{}, true, true},
		{proc.Exit{Code: 75}, Cause{Canceled: true}, false, false},
		{proc.Exit{Code: 75}, Cause{Stopping: true}, false, false},
		{proc.Exit{TimedOut: true, Code: 143, Signal: "SIGTERM"}, Cause{}, true, true},
		{proc.Exit{Err: errors.New("start: no"), Code: 75}, Cause{}, true, false},
		{proc.Exit{}, Cause{}, false, false},
		{proc.Exit{SupervisorLost: true}, Cause{}, false, false},
	} {
		var got []bool
		for _, s := range []*dispatchers.Spec{spec("x"), some} {
			res := Result{Exit: c.exit}
			state, _ := res.Judge(s, c.cause)
			got = append(got, res.Retryable(s, c.cause, state))
		}
		if !slices.Equal(got, []bool{c.all, c.only}) {
			t.Errorf("%+v, %+v: %t", c.exit, c.cause, got)
		}
	}
}
