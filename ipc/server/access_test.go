package server

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// Every route has a level that authorize knows. Which routes change something
// is told by their method, so a level that is too low is seen too.
func TestEveryRouteHasAccess(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range New(newMemory(), Options{}).routes() {
		if err := authorize(ipc.Peer{}, r.access); err != nil {
			t.Errorf("%s: access %q: %v", r.id, r.access, err)
		}
		if want := r.method == "GET"; want != (r.access == AccessRead) {
			t.Errorf("%s is a %s with access %q", r.id, r.method, r.access)
		}
		if r.register == nil || r.summary == "" || r.status/100 != 2 || seen[r.id] {
			t.Errorf("%s: the row is not whole, or is there twice", r.id)
		}
		seen[r.id] = true
	}
	for _, a := range []Access{"", "reed", "READ"} {
		if authorize(ipc.Peer{}, a) == nil {
			t.Errorf("authorize knows a level %q", a)
		}
	}
}

// requestsOf gives one request a route.
func requestsOf(h *harness) map[string]reply {
	h.t.Helper()
	all := map[string]reply{}
	h.back.add(ipc.Running)
	for _, r := range h.server.routes() {
		path := strings.NewReplacer("{name}", "d", "{id}", "J1").Replace(r.path)
		all[r.id] = h.do(r.method, path, "")
	}
	return all
}

// Every route asks authorize before anything else.
func TestEveryRouteIsAuthorized(t *testing.T) {
	h := startServer(t, newMemory(), func(b Backend) *Server {
		s := New(b, Options{})
		table := s.routes()
		for i := range table {
			table[i].access = "nobody"
		}
		s.http.Handler = s.handler(table)
		return s
	})
	for id, got := range requestsOf(h) {
		if _ = wantProblem(t, got, ipc.KindForbidden); t.Failed() {
			t.Fatalf("route %s", id)
		}
	}
	if len(h.back.calls) > 0 {
		t.Errorf("the backend was called: %v", h.back.calls)
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
// to the mux or to huma.
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
				case "Handle", "HandleFunc", "Register", "AutoRegister", "Get", "Post":
					if x, ok := s.X.(*ast.SelectorExpr); ok && x.Sel.Name == "Header" {
						return true // Header.Get
					}
					found = append(found, e.Name()+": "+s.Sel.Name)
				}
			}
			return true
		})
	}
	if len(found) != 1 || found[0] != "routes.go: Register" {
		t.Errorf("handlers are registered in %q, want one place in routes.go", found)
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
			Access      Access `json:"x-access"`
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
	table := h.server.routes()
	if n != len(table) {
		t.Errorf("%d operations, %d routes", n, len(table))
	}
	for _, r := range table {
		o := doc.Paths[r.path][strings.ToLower(r.method)]
		if o.OperationID != r.id || o.Access != r.access {
			t.Errorf("%s %s is %+v", r.method, r.path, o)
		}
		if string(o.Responses["default"]) != `{"$ref":"`+problemRef+`"}` {
			t.Errorf("%s: its errors are %s", r.id, o.Responses["default"])
		}
	}
}
