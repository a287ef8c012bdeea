package server

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/ipc"
)

var update = flag.Bool("update", false, "write testdata anew")

// values are what a client may send for a parameter, good and bad.
func values(name string) []string {
	switch name {
	case "limit", "next", "from":
		return []string{"", "0", "1", "100", "101", "1000", "1001", "-1", "many", "1.5", "%2B5", "+5", "0x10", "1e3", "9223372036854775807", "9223372036854775808", "%31"}
	case "state":
		return []string{"", "queued", "timed_out", "done", "QUEUED", "queued,running", "<b>"}
	case "since":
		return []string{
			"", "2026-11-25T01:02:03.5Z", "2026-11-25T01:02:03Z", "2026-11-25T01:02:03%2B01:00", "2026-11-25T01:02:03+01:00", "2026-11-25", "yesterday", "2026-11-25T01:02:03,5Z",
			"2026-11-25t01:02:03z", "2026-02-30T00:00:00Z", "2026-11-25T24:00:00Z", "2026-11-25T01:02:60Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-11-25T1:02:03Z",
		}
	case "follow", "bound", "dry_run":
		return []string{"", "true", "false", "1", "0", "T", "FALSE", "maybe", "yes", "2"}
	case "stale_ok":
		return []string{"", "true", "false", "1", "maybe"}
	case "wait":
		return []string{"", "false", "0", "20ms", "ever", "-5s", "0s", "30", "1e9s", strings.Repeat("w", 60)}
	case "max_age":
		return []string{"", "0", "60", "60s", "-1", "-1s", "2147483648", "ever", "1.5"}
	}
	return []string{"", "d", "%41", "a%20b", "a+b", "ü", "%FF", strings.Repeat("x", 201)}
}

// exchanges are requests to every route, with all that its parameters may be.
func exchanges() []string {
	queries := map[string][]string{
		"notify": {"wait", "bound"}, "jobs": {"dispatcher", "state", "since", "limit", "before"}, "job": {"wait"}, "log": {"follow", "from"},
		"schedule": {"dispatcher", "next"}, "cache": {"max_age", "stale_ok", "wait"}, "reload": {"dry_run"}, "drain": {"wait"},
	}
	var all []string
	for _, r := range routes() {
		path := r.method + " " + strings.NewReplacer("{name}", "d", "{id}", "J1", "{kind}", "draining").Replace(r.path)
		all = append(all, path, path+"?nothing=1", path+"?nothing", path+"?=1", path+"?%6eothing=%22%3Cb%3E", path+"?"+strings.Repeat("n", 90)+"=1")
		for _, name := range queries[r.id] {
			for _, v := range values(name) {
				all = append(all, path+"?"+name+"="+v)
			}
			if name != "wait" { // it would
				all = append(all, path+"?"+name)
			}
			all = append(all, path+"?"+strings.ToUpper(name)+"=1", path+"?"+name+"=1&"+name+"=1", path+"?"+name+"=bad&nothing=1")
		}
		for _, part := range []string{"{name}", "{id}"} {
			if !strings.Contains(r.path, part) {
				continue
			}
			for _, v := range []string{
				"J1", "a%2520b", "a%00b", "..%2f..%2fetc", "%7bname%7d", "ü", "%ff", strings.Repeat("x", 40), strings.Repeat("x", 41), strings.Repeat("ü", 40), strings.Repeat("ü", 41),
				strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 200), strings.Repeat("x", 201), strings.Repeat("%ff", 201), "J9",
			} {
				all = append(all, r.method+" "+strings.ReplaceAll(r.path, part, v))
			}
		}
	}
	return append(all,
		"GET /v1/jobs?limit=0&state=done", "GET /v1/jobs?limit=many&since=x&state=y", "GET /v1/jobs?%6cimit=3", "GET /v1/jobs?+limit=3", "GET /v1/jobs?limit=3;state=queued", "GET /v1/jobs?&&limit=3&",
		"GET /v1/schedule?next=x&dispatcher=%zz", "GET /v1/jobs/"+strings.Repeat("x", 50)+"/log?from=-1&follow=x", "GET /v1/caches/"+strings.Repeat("x", 65)+"?stale_ok=x",
		"HEAD /v1/jobs", "HEAD /v1/jobs?limit=0", "HEAD /v1/dispatchers/d/notify", "DELETE /v1/jobs", "POST /v1/jobs", "GET /v1/drain", "OPTIONS /v1/jobs", "GET /v1/nothing", "GET /v1/jobs/", "GET /v1//jobs",
		"GET /v1/jobs/J1/nothing", "GET /v1/jobs/J1/cancel", "GET /V1/jobs", "GET /v1/./jobs", "GET /v1/%6aobs", "GET /openapi.json/",
		"GET /v1/jobs\nAccept: text/html", "GET /v1/jobs\nAccept: application/cbor;q=0.9, */*;q=0.1", "GET /v1/jobs?limit=0\nAccept: text/html",
		"POST /v1/dispatchers/d/notify\nIdempotency-Key: k1", "POST /v1/dispatchers/d/notify\nIdempotency-Key: ", "POST /v1/dispatchers/d/notify\nidempotency-key: "+strings.Repeat("k", 129),
		"POST /v1/jobs/J1/retry\nIdempotency-Key: k2", "POST /v1/jobs/J1/retry\nIdempotency-Key: "+strings.Repeat("k", 129),
		"GET /v1/caches/d\nIf-None-Match: \"a\", W/\"b\"",
		"POST /v1/dispatchers/d/notify\nContent-Type: text/plain\n\n{\"arguments\": 1}", "POST /v1/dispatchers/d/notify\nContent-Type: application/cbor\n\n{\"arguments\": {\"a\": \"<&>\\u2028\"}}",
		"POST /v1/dispatchers/d/notify?wait=x\n\n{\"arguments\": ", "POST /v1/dispatchers/d/notify\n\n{\"arguments\": 1, \"b\": \"<\"}", "POST /v1/dispatchers/d/notify\n\nnull", "POST /v1/dispatchers/d/notify\n\n ",
		"POST /v1/reload\n\nwhatever", "POST /v1/jobs/J2/cancel\n\n{}", "GET /v1/status\n\nbody of a GET",
	)
}

// String is a call without its peer.
func (c call) String() string {
	text := c.Method
	if c.Arg != "" {
		text += fmt.Sprintf(" %q", c.Arg)
	}
	if c.Method == "Notify" {
		text += fmt.Sprintf(" %q %s key %q", c.Request.Dispatcher, c.Request.Arguments, c.Request.IdempotencyKey)
	}
	if c.Method == "Jobs" {
		text += fmt.Sprintf(" %q %q since %s before %q limit %d", c.Filter.Dispatcher, strings.Trim(fmt.Sprint(append([]ipc.State{c.Filter.State}, c.Filter.States...)), "[ ]"), c.Filter.Since.Format(time.RFC3339Nano), c.Filter.Before, c.Filter.Limit)
	}
	return text
}

// Each request gets the answer it always got, to the byte: testdata/answers.txt
// was written when an API library read the parameters.
func TestAnswers(t *testing.T) {
	const file = "testdata/answers.txt"
	h := start(t, Options{Version: "1.2.3", MaxConns: 100})
	job := h.back.add(ipc.Succeeded)
	job.job.Arguments, job.job.Error = json.RawMessage(`{"a": "<&>\u2028"}`), &ipc.JobError{Kind: ipc.KindInternal, Message: "<&>"}
	var got bytes.Buffer
	for _, text := range exchanges() {
		h.back.mu.Lock()
		h.back.jobs, h.back.calls = h.back.jobs[:1], nil
		h.back.mu.Unlock()
		h.back.add(ipc.Queued)
		head, body, _ := strings.Cut(text, "\n\n")
		line, headers, _ := strings.Cut(head, "\n")
		method, path, _ := strings.Cut(line, " ")
		var extra []string
		if headers != "" {
			extra = strings.Split(headers, "\n")
		}
		r := h.do(method, path, body, extra...)
		fmt.Fprintf(&got, "> %s\n", strings.ReplaceAll(text, "\n", "\\n"))
		if clients := regexp.MustCompile(`"clients":\[[^\]]*\]`); clients.Match(r.body) { // this process
			r.body = clients.ReplaceAll(r.body, []byte(`"clients":[]`))
			r.header.Set("Content-Length", "…")
		}
		fmt.Fprintf(&got, "< %d", r.status)
		for _, name := range slices.Sorted(maps.Keys(r.header)) {
			if name != "Date" {
				fmt.Fprintf(&got, " | %s: %s", name, strings.Join(r.header[name], ", "))
			}
		}
		if strings.HasPrefix(path, "/openapi.json") && r.status == 200 {
			r.body = []byte("(the description)\n")
		}
		fmt.Fprintf(&got, "\n%s", r.body)
		if !bytes.HasSuffix(r.body, []byte("\n")) {
			got.WriteByte('\n')
		}
		if r.status < 300 {
			fmt.Fprintf(&got, "= %s\n", h.back.last())
		}
	drained:
		for { // a wait here is over when it is answered
			select {
			case <-h.back.waits:
			case <-h.back.left:
			default:
				break drained
			}
		}
	}
	// A connection that the last answer closed may still be counted.
	text := regexp.MustCompile(`"connections":\d+,"max`).ReplaceAll(got.Bytes(), []byte(`"connections":1,"max`))
	text = regexp.MustCompile(`"descriptors":\d+`).ReplaceAll(text, []byte(`"descriptors":1`))
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(text), "\n")); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
