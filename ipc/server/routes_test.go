package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/ipc"
)

// Every route of the table answers, and gives the backend the peer that the
// kernel names.
func TestEveryRoute(t *testing.T) {
	h := start(t, Options{Version: "1.2.3"})
	h.back.add(ipc.Succeeded)
	h.back.add(ipc.Running)
	cases := map[string]struct {
		method, path string
		status       int
		want         call
	}{
		"openapi":     {"GET", "/openapi.json", 200, call{}},
		"index":       {"GET", "/", 200, call{}},
		"problem":     {"GET", "/problems/queue_full", 200, call{}},
		"health":      {"GET", "/v1/health", 200, call{Method: "Health", By: self()}},
		"status":      {"GET", "/v1/status", 200, call{Method: "Status", By: self()}},
		"dispatchers": {"GET", "/v1/dispatchers", 200, call{Method: "Dispatchers", By: self()}},
		"dispatcher":  {"GET", "/v1/dispatchers/d", 200, call{Method: "Dispatcher", By: self(), Arg: "d"}},
		"notify":      {"POST", "/v1/dispatchers/d/notify", 202, call{Method: "Notify", By: self(), Request: ipc.NotifyRequest{Dispatcher: "d"}}},
		"pause":       {"POST", "/v1/dispatchers/d/pause", 200, call{Method: "Pause", By: self(), Arg: "d true"}},
		"resume":      {"POST", "/v1/dispatchers/d/resume", 200, call{Method: "Pause", By: self(), Arg: "d false"}},
		"jobs":        {"GET", "/v1/jobs", 200, call{Method: "Jobs", By: self(), Filter: ipc.JobFilter{Limit: 50}}},
		"job":         {"GET", "/v1/jobs/J1", 200, call{Method: "Job", By: self(), Arg: "J1"}},
		"log":         {"GET", "/v1/jobs/J1/log", 200, call{Method: "Log", By: self(), Arg: "J1 0 false"}},
		"hold":        {"POST", "/v1/jobs/J1/hold", 200, call{Method: "Hold", By: self(), Arg: "J1"}},
		"cancel":      {"POST", "/v1/jobs/J2/cancel", 200, call{Method: "Cancel", By: self(), Arg: "J2"}},
		"retry":       {"POST", "/v1/jobs/J1/retry", 202, call{Method: "Retry", By: self(), Arg: "J1 "}},
		"locks":       {"GET", "/v1/locks", 200, call{Method: "Locks", By: self()}},
		"schedule":    {"GET", "/v1/schedule?dispatcher=d&next=3", 200, call{Method: "Schedule", By: self(), Arg: "d 3"}},
		"caches":      {"GET", "/v1/caches", 200, call{Method: "Caches", By: self()}},
		"cache":       {"GET", "/v1/caches/d", 200, call{Method: "Cache", By: self(), Arg: `d {"MaxAge":null,"Wait":0,"StaleOK":null,"IfNoneMatch":"","NoRefresh":false,"Insists":false}`}},
		"refresh":     {"POST", "/v1/caches/d/refresh?max_age=0s", 200, call{Method: "Cache", By: self(), Arg: `d {"MaxAge":0,"Wait":0,"StaleOK":null,"IfNoneMatch":"","NoRefresh":false,"Insists":true}`}},
		"reload":      {"POST", "/v1/reload?dry_run=true", 200, call{Method: "Reload", By: self(), Arg: "true"}},
		"drain":       {"POST", "/v1/drain", 200, call{Method: "Drain", By: self(), Arg: "true"}},
		"upgrade":     {"POST", "/v1/upgrade", 202, call{Method: "Upgrade", By: self()}},
		"undrain":     {"POST", "/v1/undrain", 200, call{Method: "Drain", By: self(), Arg: "false"}},
	}
	for _, r := range routes() {
		t.Run(r.id, func(t *testing.T) {
			c, ok := cases[r.id]
			if !ok {
				t.Fatal("no case for this route")
			}
			got := h.do(c.method, c.path, "")
			if got.status != c.status || len(got.body) == 0 {
				t.Fatalf("status %d, want %d\n%s", got.status, c.status, got.body)
			}
			if diff := cmp.Diff(c.want, h.back.last()); !isFixed(r.id) && diff != "" {
				t.Errorf("call (-want +got):\n%s", diff)
			}
			if got := h.do("HEAD", c.path, ""); c.method == "GET" && (got.status != 200 || len(got.body) != 0) {
				t.Errorf("HEAD: status %d, %d bytes", got.status, len(got.body))
			}
		})
	}
}

func TestListsAreNeverNull(t *testing.T) {
	h := start(t, Options{})
	for _, path := range []string{"/v1/jobs", "/v1/dispatchers", "/v1/locks", "/v1/schedule", "/v1/caches"} {
		if got := string(h.do("GET", path, "").body); got != "[]\n" {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestNotifyTakesWhatItIsGiven(t *testing.T) {
	h := start(t, Options{})
	got := h.do("POST", "/v1/dispatchers/d/notify", `{"arguments": {"a": [1, "x y"]}}`, "Idempotency-Key: k1")
	n := decode[ipc.Notified](t, got, 202)
	if got.header.Get("Location") != "/v1/jobs/"+n.ID || n.ID == "" || n.Position != 1 {
		t.Errorf("Location %q for %+v", got.header.Get("Location"), n)
	}
	want := ipc.NotifyRequest{Dispatcher: "d", Arguments: json.RawMessage(`{"a": [1, "x y"]}`), IdempotencyKey: "k1"}
	if diff := cmp.Diff(want, h.back.last().Request); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	h.do("POST", "/v1/dispatchers/d/notify", `{"arguments":1}`, "Content-Type: application/x-www-form-urlencoded") // curl -d
	if got := string(h.back.last().Request.Arguments); got != "1" {
		t.Errorf("arguments as curl sends them: %q", got)
	}
	h.do("POST", "/v1/jobs/J1/retry", "", "Idempotency-Key: k2")
	if got := h.back.last().Arg; got != "J1 k2" {
		t.Errorf("retry of %q", got)
	}
}

// The name in a path reaches the backend as it was meant, also where it is
// hostile.
func TestNamesAreDecodedOnce(t *testing.T) {
	h := start(t, Options{})
	for path, name := range map[string]string{
		"..%2f..%2fetc%2fpasswd": "../../etc/passwd", "a%2520b": "a%20b", "a%00b": "a\x00b", "%7bname%7d": "{name}", "a+b": "a+b",
	} {
		h.do("GET", "/v1/dispatchers/"+path, "")
		if got := h.back.last(); got.Method != "Dispatcher" || got.Arg != name {
			t.Errorf("%s: %s %q, want %q", path, got.Method, got.Arg, name)
		}
	}
}

func TestJobsFilter(t *testing.T) {
	h := start(t, Options{})
	h.do("GET", "/v1/jobs?dispatcher=d&state=timed_out&since=2026-11-25T01:02:03.5Z&limit=7&before=01JDXQ7ZK8S9V4N2M6T3R5W1YA&fields=result,arguments", "")
	want := ipc.JobFilter{
		Dispatcher: "d", State: ipc.TimedOut, Limit: 7, Before: "01JDXQ7ZK8S9V4N2M6T3R5W1YA", Fields: []string{"result", "arguments"}, Since: time.Date(2026, 11, 25, 1, 2, 3, 5e8, time.UTC),
	}
	if diff := cmp.Diff(want, h.back.last().Filter); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
}

// A parameter without a value means true, wherever it stands.
func TestBareParameters(t *testing.T) {
	h := start(t, Options{})
	h.back.add(ipc.Succeeded)
	for _, query := range []string{"follow&from=3", "from=3&follow", "follow=true&from=3", "&follow=1&&from=3&"} {
		h.do("GET", "/v1/jobs/J1/log?"+query, "")
		if got := h.back.last().Arg; got != "J1 3 true" {
			t.Errorf("%s: %q", query, got)
		}
	}
	if n := decode[ipc.Job](t, h.do("GET", "/v1/jobs/J1?wait", ""), 200); n.State != ipc.Succeeded {
		t.Errorf("state %s", n.State)
	}
	await(t, h.back.waits, "the wait of ?wait")
}

func TestIdempotencyKeyBounds(t *testing.T) {
	h := start(t, Options{})
	job := h.back.add(ipc.Failed)
	for _, path := range []string{"/v1/dispatchers/d/notify", "/v1/jobs/" + job.job.ID + "/retry"} {
		for _, key := range []string{strings.Repeat("k", 128), strings.Repeat("ü", 64)} {
			if got := h.do("POST", path, "", "Idempotency-Key: "+key); got.status != 202 {
				t.Errorf("%s with %d bytes: status %d\n%s", path, len(key), got.status, got.body)
			}
		}
		for _, key := range []string{strings.Repeat("k", 129), strings.Repeat("ü", 65)} {
			_ = wantProblem(t, h.do("POST", path, "", "Idempotency-Key: "+key), ipc.KindBadRequest)
		}
		_ = wantProblem(t, h.do("POST", path, "", "Idempotency-Key: a", "Idempotency-Key: b"), ipc.KindBadRequest)
	}
}

// A body of exactly the limit passes, one byte more does not.
func TestBodyLimit(t *testing.T) {
	h := start(t, Options{})
	fill := func(size int) string {
		frame := `{"arguments":""}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1)
	}
	if got := h.do("POST", "/v1/dispatchers/d/notify", fill(maxBody)); got.status != 202 {
		t.Errorf("%d bytes: status %d\n%.200s", maxBody, got.status, got.body)
	}
	_ = wantProblem(t, h.do("POST", "/v1/dispatchers/d/notify", fill(maxBody+1)), ipc.KindBodyTooLarge)
}

func TestStatusCountsConnections(t *testing.T) {
	h := start(t, Options{MaxConns: 7})
	s := decode[ipc.Status](t, h.do("GET", "/v1/status", ""), 200)
	if s.API.Connections != 1 || s.API.MaxConnections != 7 || s.Version != "memory" {
		t.Errorf("status %+v", s)
	}
	for _, call := range []string{"drain", "undrain"} {
		s := decode[ipc.Status](t, h.do("POST", "/v1/"+call, ""), 200)
		if s.API.MaxConnections != 7 || fmt.Sprint(s.Draining) != fmt.Sprint(call == "drain") {
			t.Errorf("%s: %+v", call, s)
		}
	}
}
