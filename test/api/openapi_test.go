package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// document is what is looked at of the description.
type document struct {
	OpenAPI    string                          `json:"openapi"`
	Info       map[string]any                  `json:"info"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas   map[string]schema   `json:"schemas"`
		Responses map[string]response `json:"responses"`
	} `json:"components"`
}

type operation struct {
	ID         string `json:"operationId"`
	Summary    string `json:"summary"`
	Access     string `json:"x-access"`
	Parameters []struct {
		Name, In string
		Required bool
		Schema   schema
	}
	RequestBody *struct {
		Required bool
		Content  map[string]struct{ Schema schema }
	} `json:"requestBody"`
	Responses map[string]response
}

type response struct {
	Ref         string `json:"$ref"`
	Description string
	Headers     map[string]any
	Content     map[string]struct{ Schema schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Properties map[string]schema
	Required   []string
	Enum       []any
	Additional any `json:"additionalProperties"`
}

// read gives the description, as a document and as plain JSON.
func read(t *testing.T) (document, any) {
	t.Helper()
	raw := newDaemon(t).ask("GET", "/openapi.json")
	var d document
	var plain any
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &plain); err != nil {
		t.Fatal(err)
	}
	return d, plain
}

// Every reference leads somewhere.
func TestReferences(t *testing.T) {
	_, plain := read(t)
	n := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if n++; follow(plain, ref) == nil {
					t.Errorf("%s: %s leads nowhere", at, ref)
				}
			}
			for name, sub := range v {
				walk(at+"/"+name, sub)
			}
		case []any:
			for i, sub := range v {
				walk(fmt.Sprintf("%s/%d", at, i), sub)
			}
		}
	}
	walk("", plain)
	if n < 30 {
		t.Errorf("only %d references", n)
	}
}

// follow finds what a reference names.
func follow(doc any, ref string) any {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	for part := range strings.SplitSeq(path, "/") {
		m, _ := doc.(map[string]any)
		doc = m[part]
	}
	return doc
}

var braces = regexp.MustCompile(`\{([a-z]+)\}`)

// Each operation says what it is, what it takes, and how it fails.
func TestOperationsAreWhole(t *testing.T) {
	d, _ := read(t)
	seen := map[string]bool{}
	for path, methods := range d.Paths {
		for method, o := range methods {
			at := method + " " + path
			if o.ID == "" || seen[o.ID] || o.Summary == "" || o.Access == "" {
				t.Errorf("%s: id %q, summary %q, access %q", at, o.ID, o.Summary, o.Access)
			}
			seen[o.ID] = true
			var want, got []string
			for _, m := range braces.FindAllStringSubmatch(path, -1) {
				want = append(want, m[1])
			}
			for _, p := range o.Parameters {
				if p.In == "path" && p.Required {
					got = append(got, p.Name)
				}
				if p.Schema.Type == nil {
					t.Errorf("%s: parameter %s has no type", at, p.Name)
				}
			}
			if !slices.Equal(want, got) {
				t.Errorf("%s: path parameters %q, want %q", at, got, want)
			}
			good := 0
			for status, r := range o.Responses {
				if r.Ref == "" && (r.Description == "" || len(r.Content) == 0 && status != "304") {
					t.Errorf("%s: answer %s says nothing", at, status)
				}
				if strings.HasPrefix(status, "2") {
					good++
				}
			}
			if good == 0 || o.Responses["default"].Ref != "#/components/responses/Problem" {
				t.Errorf("%s: answers %v", at, slices.Sorted(maps.Keys(o.Responses)))
			}
		}
	}
	for name, s := range d.Components.Schemas {
		for _, r := range s.Required {
			if _, ok := s.Properties[r]; !ok {
				t.Errorf("schema %s requires %s and does not have it", name, r)
			}
		}
		if s.Additional == false {
			t.Errorf("schema %s is closed: no field could be added", name)
		}
	}
}

// Errors are described as they are sent, with every kind.
func TestProblemsAreDescribed(t *testing.T) {
	d, _ := read(t)
	problem := d.Components.Schemas["Problem"]
	var kinds []string
	for _, k := range problem.Properties["kind"].Enum {
		kinds = append(kinds, fmt.Sprint(k))
	}
	var want []string
	for _, k := range ipc.Kinds() {
		want = append(want, string(k))
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("kinds %v", kinds)
	}
	if !slices.Equal(problem.Required, []string{"type", "title", "status", "kind", "detail"}) {
		t.Errorf("required %v", problem.Required)
	}
	r := d.Components.Responses["Problem"]
	if r.Content["application/problem+json"].Schema.Ref != "#/components/schemas/Problem" || r.Headers["Retry-After"] == nil {
		t.Errorf("the answer is %+v", r)
	}
}

// A notify is described as it is taken.
func TestNotifyIsDescribed(t *testing.T) {
	d, _ := read(t)
	o := d.Paths["/v1/dispatchers/{name}/notify"]["post"]
	body := o.RequestBody.Content["application/json"].Schema
	if _, has := body.Properties["arguments"]; !has || len(body.Properties) != 1 || body.Additional != false || o.RequestBody.Required || len(body.Required) > 0 {
		t.Errorf("body %+v, required %v", body, o.RequestBody.Required)
	}
	var params []string
	for _, p := range o.Parameters {
		params = append(params, p.In+" "+p.Name)
	}
	if !slices.Equal(params, []string{"path name", "query wait", "query fail", "query bound", "header Idempotency-Key"}) {
		t.Errorf("parameters %q", params)
	}
	for _, status := range []string{"200", "202"} {
		r := o.Responses[status]
		if r.Headers["Location"] == nil || r.Content["application/json"].Schema.Ref != "#/components/schemas/Notified" {
			t.Errorf("answer %s: %+v", status, r)
		}
	}
}
