package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// fill gives the backend n jobs, each with so many bytes of arguments and result.
func (h *harness) fill(n, bytes int) {
	text := json.RawMessage(`"` + strings.Repeat("x", bytes) + `"`)
	for i := range n {
		h.back.listed = append(h.back.listed, ipc.Job{
			ID: fmt.Sprintf("01JDXQ7ZK8S9V4N2M6T3R5%04d", i), Dispatcher: "d<&>", State: ipc.Succeeded, Arguments: text, Result: text, Notifiers: []ipc.Notifier{},
		})
	}
}

// A listing is one list, however many pages it is read in.
func TestListing(t *testing.T) {
	h := start(t, Options{})
	if got := h.do("GET", "/v1/jobs", ""); string(got.body) != "[]\n" || got.status != 200 {
		t.Errorf("of nothing: %d %q", got.status, got.body)
	}
	h.fill(95, 10)
	for query, want := range map[string]int{"": 95, "?limit=1": 1, "?limit=20": 20, "?limit=21": 21, "?limit=95": 95, "?limit=1000&fields=result": 95, "?fields=arguments,result&limit=3": 3} {
		list := decode[[]ipc.Job](t, h.do("GET", "/v1/jobs"+query, ""), 200)
		if len(list) != want {
			t.Errorf("%q: %d jobs, want %d", query, len(list), want)
		}
		for i, j := range list {
			if j.ID != h.back.listed[94-i].ID {
				t.Errorf("%q: %s at place %d", query, j.ID, i)
			}
		}
	}
	if text := h.do("GET", "/v1/jobs?limit=1", "").body; !strings.Contains(string(text), "d<&>") {
		t.Errorf("it is written otherwise than a single job: %s", text)
	}
	for _, before := range []string{"zzzz", "01J", "01JDXQ7ZK8S9V4N2M6T3R5W1YU", "81JDXQ7ZK8S9V4N2M6T3R5W1YA", "01JDXQ7ZK8S9V4N2M6T3R5W1YA0"} {
		if p := wantProblem(t, h.do("GET", "/v1/jobs?before="+before, ""), ipc.KindBadRequest); !strings.Contains(p.Detail, before) {
			t.Error(p.Detail)
		}
	}
	if got := h.do("GET", "/v1/jobs?before=01jdxq7zk8s9v4n2m6t3r5w1ya", ""); got.status != 200 {
		t.Errorf("an id in small letters: %d", got.status)
	}
	_ = wantProblem(t, h.do("GET", "/v1/jobs?fields=nothing", ""), ipc.KindBadRequest)
}
