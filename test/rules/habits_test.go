package rules

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// clock are the names of package time that read a clock or wait for one.
func clock() []string {
	return strings.Fields("Now Since Until After AfterFunc Tick NewTimer NewTicker Timer Ticker Sleep Local LoadLocation")
}

// checkPure keeps clock, goroutines and channels out of the queue: the same
// events give the same effects, whenever and wherever they are replayed.
func checkPure(f *file) []string {
	if f.dir != "daemon/internal/queue" || f.test {
		return nil
	}
	var found []string
	f.used(func(sel *ast.SelectorExpr, pkg, name string) {
		if pkg == "time" && slices.Contains(clock(), name) {
			found = append(found, f.at(sel, "the queue uses time.%s: its owner gives it the time", name))
		}
	})
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, f.at(n, "the queue starts a goroutine: one owner calls it"))
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			found = append(found, f.at(n, "the queue has a channel: effects are its only way out"))
		}
		return true
	})
	return found
}

// checkSleep refuses time.Sleep: it is too short on a busy machine and too long
// on every other. Only the fake clock of a synctest bubble may be slept on.
func checkSleep(f *file) []string {
	if !f.test {
		return nil // checkCalls
	}
	type span struct{ from, to token.Pos }
	var bubbles []span
	ast.Inspect(f.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if ok && f.calls(call, "testing/synctest.Test", "testing/synctest.Run") {
			bubbles = append(bubbles, span{call.Pos(), call.End()})
		}
		return true
	})
	var found []string
	f.used(func(sel *ast.SelectorExpr, pkg, name string) {
		inside := slices.ContainsFunc(bubbles, func(s span) bool { return s.from < sel.Pos() && sel.Pos() < s.to })
		if pkg == "time" && name == "Sleep" && !inside {
			found = append(found, f.at(sel, "time.Sleep in a test: wait for the event"))
		}
	})
	return found
}

// checkSends wants every send to have another way out: a goroutine that sends
// to one which has stopped would wait for ever. A channel with a buffer, by all
// of the package's make calls for its name, needs none.
func checkSends(tree []*file) []string {
	var found []string
	buffered := bufferedNames(tree)
	for _, f := range tree {
		if f.test {
			continue
		}
		free := map[ast.Stmt]bool{}
		ast.Inspect(f.File, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectStmt); ok && len(s.Body.List) > 1 {
				for _, c := range s.Body.List {
					free[c.(*ast.CommClause).Comm] = true
				}
			}
			return true
		})
		ast.Inspect(f.File, func(n ast.Node) bool {
			if s, ok := n.(*ast.SendStmt); ok && !free[s] && !buffered[f.dir+"."+lastName(s.Chan)] {
				found = append(found, f.at(s, "a send without another way out: select on done beside it, or give the channel a buffer"))
			}
			return true
		})
	}
	return found
}

// bufferedNames lists, as folder.name, the channels that always get a buffer.
func bufferedNames(tree []*file) map[string]bool {
	names := map[string]bool{}
	for _, f := range tree {
		if f.test {
			continue
		}
		note := func(name string, made ast.Expr) {
			call, ok := made.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return
			}
			if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "make" {
				return
			}
			if _, ok := call.Args[0].(*ast.ChanType); !ok {
				return
			}
			key := f.dir + "." + name
			before, known := names[key]
			names[key] = len(call.Args) > 1 && (before || !known)
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, right := range n.Rhs {
					note(lastName(n.Lhs[min(i, len(n.Lhs)-1)]), right)
				}
			case *ast.KeyValueExpr:
				note(lastName(n.Key), n.Value)
			}
			return true
		})
	}
	return names
}

// lastName is the name at the end of a chain of selectors.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// checkBuilds wants a test that builds the programs to tell the test cache so.
func checkBuilds(tree []*file) []string {
	builds, looks, tests := map[string]*file{}, map[string]bool{}, map[string]bool{}
	for _, f := range tree {
		tests[f.dir] = tests[f.dir] || strings.HasSuffix(f.path, "_test.go")
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && f.calls(call, module+"test/box.Look", module+"test/box.Programs", module+"test/box.New", module+"test/box.Variant") {
				looks[f.dir] = true
			}
			if ok && (f.calls(call, "os/exec.Command", "os/exec.CommandContext") && mentionsGo(call) || f.calls(call, module+"test/box.Build")) {
				builds[f.dir] = f
			}
			return true
		})
	}
	var found []string
	for dir, f := range builds {
		if tests[dir] && !looks[dir] && dir != "test/box" { // its own tests build nothing
			found = append(found, f.at(f.Name, "%s builds programs, and the test cache does not know: call box.Look in its tests", dir))
		}
	}
	return found
}

// mentionsGo reports whether a command is the go command.
func mentionsGo(call *ast.CallExpr) bool {
	return slices.ContainsFunc(call.Args[:min(2, len(call.Args))], func(e ast.Expr) bool {
		lit, ok := e.(*ast.BasicLit)
		return ok && lit.Value == `"go"`
	})
}
