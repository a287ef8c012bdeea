//go:build pfsense

package pfsense

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// said is what a run of the bridge told.
type said struct {
	code           int
	stdout, stderr string
	Result         struct {
		Class    string          `json:"class"`
		Exited   bool            `json:"exited"`
		Returned json.RawMessage `json:"returned"`
	} `json:"result"`
	Error *problem `json:"error"`
}

// problem is an error as the bridge tells it.
type problem struct {
	Class      string   `json:"class"`
	ResponseID string   `json:"response_id"`
	Code       int      `json:"code"`
	Message    string   `json:"message"`
	Trace      []string `json:"trace"`
	Previous   string   `json:"previous"`
}

// bridge runs the bridge over the stand-in as a job would, without a daemon.
func bridge(t *testing.T, stdin string, env []string, words ...string) said {
	t.Helper()
	php := needPHP(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cmd := exec.CommandContext(t.Context(), php, append([]string{
		"-d", "include_path=" + standin(t), "-f", filepath.Join(source, "bridge.php"), "--",
	}, words...)...)
	cmd.WaitDelay = time.Second
	cmd.Env = append(append(os.Environ(), "DISPATCHD_PROGRESS_FD=3"), env...)
	cmd.Stdin, cmd.ExtraFiles = strings.NewReader(stdin), []*os.File{w}
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	told := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(r)
		told <- text
	}()
	_ = cmd.Wait()
	s := said{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: talk.String()}
	for line := range strings.Lines(string(<-told)) {
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Errorf("descriptor 3: %v in %q", err, line)
		}
	}
	return s
}

// Arguments come as they are named: by name, by position, both, or none.
func TestBridgeArguments(t *testing.T) {
	for _, loader := range []string{"package", "lazy"} {
		for given, want := range map[string]string{
			"": `{}`, "null": `{}`, "{}": `{}`, "[]": `{}`, `"one"`: `{"0":"one"}`, `7`: `{"0":7}`,
			`{"id":3,"name":"a b"}`:                    `{"id":3,"name":"a b"}`,
			`["x",2]`:                                  `{"0":"x","1":2}`,
			`{"named":true,"1":"b","0":"a"}`:           `{"0":"a","1":"b","named":true}`,
			`{"q":"it's \"$HOME\" \\ 100% ü 😀 \n"}`:    `{"q":"it's \"$HOME\" \\ 100% ü 😀 \n"}`,
			`{"deep":{"list":[1,{"a":null}],"f":1.5}}`: `{"deep":{"list":[1,{"a":null}],"f":1.5}}`,
			`[12345678901234567890123]`:                `{"0":"12345678901234567890123"}`,
		} {
			s := bridge(t, given, nil, "run", "--loader="+loader, "EchoDispatcher")
			var returned struct {
				Arguments json.RawMessage `json:"arguments"`
			}
			if err := json.Unmarshal(s.Result.Returned, &returned); err != nil {
				t.Fatalf("%s %s: %v, exit %d: %s", loader, given, err, s.code, s.stderr)
			}
			if diff := cmp.Diff(value(t, want), value(t, string(returned.Arguments))); diff != "" || s.code != 0 {
				t.Errorf("%s %s: exit %d\n%s", loader, given, s.code, diff)
			}
			if s.stdout != "async is false, the greeting is hello\n" || s.stderr != "" {
				t.Errorf("%s %s: output %q, talk %q", loader, given, s.stdout, s.stderr)
			}
		}
	}
}

// value decodes JSON for a comparison.
func value(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// Every way to end has its exit status and says why.
func TestBridgeEndings(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		words []string
		code  int
		want  problem
	}{
		"no class":         {"", []string{"run"}, 64, problem{Class: "Refusal", Message: "usage: "}},
		"no verb":          {"", nil, 64, problem{Class: "Refusal", Message: "usage: "}},
		"no such loader":   {"", []string{"run", "--loader=x", "EchoDispatcher"}, 64, problem{Class: "Refusal", Message: "usage: "}},
		"no JSON":          {"{", []string{"run", "EchoDispatcher"}, 65, problem{Class: "Refusal", Message: "arguments: "}},
		"wrong type":       {`["x"]`, []string{"run", "StrictDispatcher"}, 65, problem{Class: "TypeError", Message: "RESTAPI"}},
		"unknown name":     {`{"ident":1}`, []string{"run", "StrictDispatcher"}, 65, problem{Class: "Error", Message: "Unknown named parameter $ident"}},
		"too few":          {`[]`, []string{"run", "StrictDispatcher"}, 65, problem{Class: "ArgumentCountError", Message: "Too few arguments"}},
		"an error inside":  {`{"ident":1}`, []string{"run", "TypedDispatcher"}, 70, problem{Class: "Error", Message: "Unknown named parameter"}},
		"unknown class":    {"", []string{"run", "NoDispatcher"}, 69, problem{Class: "Refusal", Message: `no class RESTAPI\Dispatchers\NoDispatcher or`}},
		"not a dispatcher": {"", []string{"run", `RESTAPI\Core\Problem`}, 69, problem{Class: "Refusal", Message: "class RESTAPI"}},
		"no include":       {"", []string{"run", "TypedDispatcher", "/nowhere.inc"}, 69, problem{Class: "Refusal", ResponseID: "DISPATCHER_WITH_FAILED_INCLUDE", Message: "include /nowhere.inc"}},
		"dependency":       {`{"how":"problem","code":424}`, []string{"run", "EndingDispatcher"}, 69, problem{Class: "Problem", ResponseID: "ENDING_PROBLEM", Message: "refused: 424"}},
		"bad request":      {`{"how":"problem","code":400}`, []string{"run", "EndingDispatcher"}, 65, problem{Class: "Problem", ResponseID: "ENDING_PROBLEM", Message: "refused: 400"}},
		"server error":     {`{"how":"problem","code":500}`, []string{"run", "EndingDispatcher"}, 70, problem{Class: "Problem", ResponseID: "ENDING_PROBLEM", Message: "refused: 500"}},
		"not now":          {`{"how":"problem","code":503}`, []string{"run", "EndingDispatcher"}, 75, problem{Class: "Problem", ResponseID: "ENDING_PROBLEM", Message: "refused: 503"}},
		"exception":        {`{"how":"exception"}`, []string{"run", "EndingDispatcher"}, 70, problem{Class: "RuntimeException", Code: 3, Message: "outer", Previous: "LogicException: inner"}},
		"long":             {`{"how":"deep"}`, []string{"run", "EndingDispatcher"}, 70, problem{Class: "RuntimeException", Message: "long long"}},
		"out of memory":    {`{"how":"memory"}`, []string{"run", "EndingDispatcher"}, 255, problem{Class: "FatalError", Code: 255, Message: "Allowed memory size"}},
		"failing cache":    {"", []string{"run", "EmptyCache"}, 70, problem{Class: "Problem", ResponseID: "CACHE_WITHOUT_DATA", Message: "no data"}},
	} {
		s := bridge(t, c.stdin, nil, c.words...)
		if s.code != c.code || s.Error == nil {
			t.Errorf("%s: exit %d, want %d, error %+v: %s", name, s.code, c.code, s.Error, s.stderr)
			continue
		}
		class := s.Error.Class[strings.LastIndexByte(s.Error.Class, '\\')+1:]
		if class != c.want.Class || s.Error.ResponseID != c.want.ResponseID || !strings.HasPrefix(s.Error.Message, c.want.Message) || s.Error.Previous != c.want.Previous {
			t.Errorf("%s: %+v", name, *s.Error)
		}
		if c.want.Code != 0 && s.Error.Code != c.want.Code {
			t.Errorf("%s: code %d, want %d", name, s.Error.Code, c.want.Code)
		}
		if (class == "Problem" || class == "RuntimeException") && len(s.Error.Trace) == 0 {
			t.Errorf("%s: no trace", name)
		}
		if text, _ := json.Marshal(s.Error); len(text) > 16<<10 {
			t.Errorf("%s: the error has %d bytes", name, len(text))
		}
		if s.stdout != "" {
			t.Errorf("%s: prints %q", name, s.stdout)
		}
	}
}

// A class that exits by itself keeps its status, and is not taken for a crash.
func TestBridgeExit(t *testing.T) {
	for _, code := range []int{0, 3} {
		text, _ := json.Marshal(map[string]any{"how": "exit", "code": code})
		if s := bridge(t, string(text), nil, "run", "EndingDispatcher"); s.code != code || s.Error != nil || !s.Result.Exited {
			t.Errorf("exit(%d): %+v", code, s)
		}
	}
}

// Includes are loaded once, where their variables are global.
func TestBridgeIncludes(t *testing.T) {
	extra := filepath.Join(standin(t), "extra.inc")
	s := bridge(t, `{"id":5}`, nil, "run", `RESTAPI\Dispatchers\TypedDispatcher`, extra, extra)
	if s.code != 0 || string(s.Result.Returned) != `"extra 5"` || s.Result.Class != `RESTAPI\Dispatchers\TypedDispatcher` {
		t.Errorf("%+v", s)
	}
}

// Standard output of a cache is its data and nothing else; the file of the
// package's own readers is replaced, not rewritten.
func TestBridgeCache(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "DataCache.json")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	s := bridge(t, "", []string{"STANDIN_CACHE=" + dir}, "run", "--loader=lazy", "DataCache")
	want := `{"list":[1,2],"text":"café/` + "\\ufffd" + `","number":1.0,"at":false}`
	if s.code != 0 || strings.ReplaceAll(s.stdout, `caf\u00e9`, "café") != want || s.stderr != "gathering\nand forgetting a buffer\n" {
		t.Errorf("exit %d, data %s, talk %q", s.code, s.stdout, s.stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != s.stdout {
		t.Errorf("the package's file: %v %s", err, text)
	}
	if before, err := io.ReadAll(old); err != nil || string(before) != "old" {
		t.Errorf("who had the old file open reads %q, %v", before, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}

	// A file that cannot be replaced fails the refresh, and stays.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	s = bridge(t, "", []string{"STANDIN_CACHE=" + dir}, "run", "DataCache")
	if s.code != 75 || s.Error == nil || !strings.Contains(s.Error.Message, "DataCache.json") {
		t.Errorf("file in the way: %+v", s)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

// Without the package there is a reason, not a warning of PHP.
func TestBridgeWithoutPackage(t *testing.T) {
	cmd := exec.Command(needPHP(t), "-d", "include_path="+t.TempDir(), filepath.Join(source, "bridge.php"), "run", "EchoDispatcher")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 69 || !strings.Contains(string(out), "the REST API package is not installed") {
		t.Errorf("%v: %s", err, out)
	}
}
