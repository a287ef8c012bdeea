//go:build pfsense

package pfsense

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// described is the answer of describe.
type described struct {
	Classes []class `json:"classes"`
	Broken  []struct {
		File  string `json:"file"`
		Error string `json:"error"`
	} `json:"broken"`
}

// class is what one class says of itself.
type class struct {
	Class    string   `json:"class"`
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Timeout  int      `json:"timeout"`
	MaxQueue int      `json:"max_queue"`
	Schedule string   `json:"schedule"`
	Packages []string `json:"required_packages"`
	Includes []struct {
		Name string `json:"name"`
		Path string `json:"path"`
	} `json:"package_includes"`
}

// describe asks the bridge for the classes below a directory.
func describe(t *testing.T, dir string, options ...string) described {
	t.Helper()
	cmd := exec.Command(needPHP(t), append(options, "-f", filepath.Join(source, "bridge.php"), "--", "describe", "--src="+dir)...)
	var talk strings.Builder
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil || talk.String() != "" {
		t.Fatalf("%v: %s", err, talk.String())
	}
	var d described
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Classes say what they want, also where it is protected.
func TestDescribe(t *testing.T) {
	d := describe(t, standin(t), "-d", "include_path="+standin(t))
	found := map[string]class{}
	for _, c := range d.Classes {
		found[c.Name] = c
	}
	if len(d.Broken) > 0 || len(found) != 6 {
		t.Fatalf("%d classes, broken %v", len(found), d.Broken)
	}
	typed := found["TypedDispatcher"]
	if len(typed.Includes) != 2 || typed.Includes[0].Path != filepath.Join(standin(t), "extra.inc") || typed.Includes[1].Path != "" {
		t.Errorf("includes: %+v", typed.Includes)
	}
	typed.Includes = nil
	want := class{`RESTAPI\Dispatchers\TypedDispatcher`, "TypedDispatcher", "dispatcher", 60, 2, "5 4 * * *", []string{"pkg-one"}, nil}
	if diff := cmp.Diff(want, typed); diff != "" {
		t.Error(diff)
	}
	if c := found["DataCache"]; c.Kind != "cache" || c.Timeout != 30 || c.Schedule != "hourly" {
		t.Errorf("%+v", c)
	}
}

// A file that does not compile is named, and takes no other down, whatever PHP
// does about it.
func TestDescribeBroken(t *testing.T) {
	dir, err := filepath.Abs("testdata/broken")
	if err != nil {
		t.Fatal(err)
	}
	d := describe(t, dir)
	var names []string
	for _, c := range d.Classes {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"AGoodDispatcher", "ZGoodDispatcher"}, names); diff != "" {
		t.Error(diff)
	}
	got := map[string]string{}
	for _, b := range d.Broken {
		got[strings.TrimSuffix(filepath.Base(b.File), ".inc")] = b.Error
	}
	for name, why := range map[string]string{
		"FatalDispatcher": "must be compatible", "SyntaxDispatcher": "syntax error", "ParentlessDispatcher": "not found",
		"QuitDispatcher": "exits when it is loaded", "NamelessDispatcher": "has no class", "NoisyDispatcher": "Namespace declaration",
	} {
		if !strings.Contains(got[name], why) {
			t.Errorf("%s: %q, want %q", name, got[name], why)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more is broken: %v", got)
	}
}
