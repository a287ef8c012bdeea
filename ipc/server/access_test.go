package server

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// Every route names a verb that there is, and every verb is some route's. Which
// routes change something is told by their method, so that a verb of reading
// beside a POST is seen too.
func TestEveryRouteHasAVerb(t *testing.T) {
	seen, used := map[string]bool{}, map[Verb]bool{}
	for _, r := range routes() {
		if !slices.Contains(Verbs(), r.verb) {
			t.Errorf("%s: there is no verb %q", r.id, r.verb)
		}
		if want := r.method == "GET"; want != (r.verb.level() == "read") {
			t.Errorf("%s is a %s with the verb %q", r.id, r.method, r.verb)
		}
		if r.serve == nil || r.summary == "" || r.status/100 != 2 || seen[r.id] {
			t.Errorf("%s: the row is not whole, or is there twice", r.id)
		}
		seen[r.id], used[r.verb] = true, true
	}
	for _, v := range Verbs() {
		if !used[v] {
			t.Errorf("the verb %q is no route's", v)
		}
	}
}

// requestsOf gives one request a route.
func requestsOf(h *harness) map[string]reply {
	h.t.Helper()
	all := map[string]reply{}
	h.back.add(ipc.Running)
	for _, r := range routes() {
		path := strings.NewReplacer("{name}", "d", "{id}", "J1", "{kind}", "draining").Replace(r.path)
		all[r.id] = h.do(r.method, path, "")
	}
	return all
}

// Every route asks the backend, which alone decides who may do what; the
// description is the same for everybody.
func TestEveryRouteAsksTheBackend(t *testing.T) {
	h := start(t, Options{})
	for _, m := range []string{
		"Notify", "Job", "Jobs", "Log", "Cancel", "Hold", "Retry", "Dispatchers", "Dispatcher", "Pause", "Locks", "Schedule", "Caches", "Cache", "Status", "Health", "Reload", "Drain", "Upgrade",
	} {
		h.back.fail[m] = ipc.Errorf(ipc.KindForbidden, "not you")
	}
	for id, got := range requestsOf(h) {
		if isFixed(id) {
			continue
		}
		if _ = wantProblem(t, got, ipc.KindForbidden); t.Failed() {
			t.Fatalf("route %s", id)
		}
	}
	for _, c := range h.back.calls {
		if c.By != self() {
			t.Errorf("%s: the backend was told %+v", c.Method, c.By)
		}
	}
}

// A peer whom the kernel does not name reaches no route.
func TestUnknownPeerReachesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := serve(t, l, newMemory(), func(b Backend) *Server { return New(b, Options{}) })
	for id, got := range requestsOf(h) {
		if _ = wantProblem(t, got, ipc.KindForbidden); t.Failed() {
			t.Fatalf("route %s", id)
		}
	}
	if len(h.back.calls) > 0 {
		t.Errorf("the backend was called: %v", h.back.calls)
	}
}

// The table is the only way in: nothing else in this package gives a handler
// to the mux.
func TestNothingBesideTheTable(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range files {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := c.Fun.(*ast.SelectorExpr); ok {
				switch s.Sel.Name {
				case "Handle", "HandleFunc":
					found = append(found, e.Name()+": "+s.Sel.Name)
				}
			}
			return true
		})
	}
	if !slices.Equal(found, []string{"routes.go: Handle", "routes.go: HandleFunc"}) {
		t.Errorf("handlers are registered in %q, want the rows and what matches none of them, in routes.go", found)
	}
}

// The description names the same routes as the table, with the same access.
func TestDescriptionIsTheTable(t *testing.T) {
	h := start(t, Options{Version: "1.2.3"})
	got := h.do("GET", "/openapi.json", "")
	if ct := got.header.Get("Content-Type"); ct != "application/openapi+json" {
		t.Errorf("Content-Type %q", ct)
	}
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Access      string `json:"x-access"`
			Responses   map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(got.body, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Version != "1.2.3" {
		t.Errorf("openapi %s, version %s", doc.OpenAPI, doc.Info.Version)
	}
	n := 0
	for _, methods := range doc.Paths {
		n += len(methods)
	}
	table := routes()
	if n != len(table) {
		t.Errorf("%d operations, %d routes", n, len(table))
	}
	for _, r := range table {
		o := doc.Paths[r.path][strings.ToLower(r.method)]
		if o.OperationID != r.id || o.Access != r.verb.level() {
			t.Errorf("%s %s is %+v", r.method, r.path, o)
		}
		if string(o.Responses["default"]) != `{"$ref":"`+problemRef+`"}` {
			t.Errorf("%s: its errors are %s", r.id, o.Responses["default"])
		}
	}
}
