package rules

import (
	"go/ast"
	"go/types"
	"slices"
)

// The loop's state is a type of package daemon. What belongs to the loop is
// reached through the argument of a function that runs there.
const (
	statePackage = "daemon"
	stateType    = "state"
)

// stateMeasure counts what begins another goroutine and takes the loop's state
// with it: a go statement, WaitGroup.Go, time.AfterFunc. A go statement's
// arguments are evaluated before it, so what counts is a function literal that
// uses a state from outside, a method of the state, and the state as an argument.
// What gets a state of its own, as what is sent to the loop does, is the loop's.
func stateMeasure(tree []*file) []measure {
	c := checkerOf(tree)
	if len(c.files[statePackage]) == 0 {
		return nil
	}
	c.folder(statePackage)
	m := measure{what: "the loop's state on other goroutines", at: c.files[statePackage][0]}
	m.node = m.at.Name
	for _, f := range c.files[statePackage] {
		if f.test {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				m.list = append(m.list, c.taken(f, append(slices.Clone(n.Call.Args), n.Call.Fun)...)...)
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Go" || s.Sel.Name == "AfterFunc") {
					m.list = append(m.list, c.taken(f, n.Args...)...)
				}
			}
			return true
		})
	}
	slices.Sort(m.list)
	m.list = slices.Compact(m.list)
	m.n = len(m.list)
	return []measure{m}
}

// taken finds the state in what another goroutine is given.
func (c *checker) taken(f *file, given ...ast.Expr) []string {
	var found []string
	for _, e := range given {
		switch n := e.(type) {
		case *ast.FuncLit:
			found = append(found, c.captured(f, n)...)
		case *ast.SelectorExpr:
			if fn, ok := c.info.Uses[n.Sel].(*types.Func); ok && isState(fn.Signature().Recv()) {
				found = append(found, f.at(n, "its method %s", n.Sel.Name))
			}
		}
		if c.hasState(e) {
			found = append(found, f.at(e, "as an argument"))
		}
	}
	return found
}

// captured finds the uses of a state that is declared outside of a function.
func (c *checker) captured(f *file, fn *ast.FuncLit) []string {
	var found []string
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if c.hasState(n) {
				found = append(found, f.at(n, "%s", n.Sel.Name))
				return false
			}
		case *ast.Ident:
			v, ok := c.info.Uses[n].(*types.Var)
			if ok && !v.IsField() && isState(v) && (v.Pos() < fn.Pos() || v.Pos() > fn.End()) {
				found = append(found, f.at(n, "%s", n.Name))
			}
		}
		return true
	})
	return found
}

// hasState reports whether an expression is the loop's state or points to it.
func (c *checker) hasState(e ast.Expr) bool {
	if id, ok := e.(*ast.Ident); ok {
		v, _ := c.info.Uses[id].(*types.Var)
		return isState(v)
	}
	return isStateType(c.info.TypeOf(e))
}

// isState reports whether a variable is the loop's state or points to it.
func isState(v *types.Var) bool { return v != nil && isStateType(v.Type()) }

// isStateType reports whether a type is the state's, a pointer to it, or a struct
// that embeds one of these: what is laid over the state is the loop's like it.
func isStateType(t types.Type) bool {
	if t == nil {
		return false
	}
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != module+statePackage {
		return false
	}
	if named.Obj().Name() == stateType {
		return true
	}
	s, ok := named.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for f := range s.Fields() {
		if f.Embedded() && isStateType(f.Type()) {
			return true
		}
	}
	return false
}

// keyed are the maps that a struct of daemon or below may have by text, by a
// job's id or by an idempotency key, each with what its key is. A job is one
// struct in jobs.State and one in queue.Core, a dispatcher too, and with its due
// times in scheduler.Agenda: whoever needs another fact of a job or dispatcher
// adds a field to those, so that no map has to be kept in step.
func keyed() map[string]string {
	return map[string]string{
		"daemon/internal/jobs.State.jobs":        "a job: here is the one struct",
		"daemon/internal/jobs.State.dispatchers": "a dispatcher: here is the one struct",
		"daemon/internal/jobs.keyring.all":       "an idempotency key, which outlives its job",
		"daemon/internal/queue.Core.jobs":        "a job: here is what the queue knows of it",
		"daemon/internal/queue.registry.byName":  "a dispatcher: here is what the queue knows of it",
		"daemon/internal/queue.dispatcher.keys":  "arguments: the queued job that a notify with the same may join",
		"daemon/internal/queue.locks.granted":    "a lock",
		"daemon/internal/queue.locks.claimed":    "a lock",
		"daemon/internal/store.writer.rejected":  "a job whose acceptance was refused: until its owner has withdrawn it",
		"daemon/internal/store.Caches.tags":      "a cache's file",
		"daemon/internal/store.Snapshot.Keys":    "an idempotency key, on its way to the disk",
		"daemon/internal/store.Snapshot.Cursors": "a dispatcher, on its way to the disk",
	}
}

// checkMaps refuses further maps by job or dispatcher.
func checkMaps(allowed map[string]string) func(f *file) []string {
	return func(f *file) []string {
		if !f.below() {
			return nil
		}
		var found []string
		ast.Inspect(f.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					what := f.dir + "." + spec.Name.Name + "." + name.Name
					if mapByName(field.Type) && allowed[what] == "" {
						found = append(found, f.at(field, "%s is a map by name or id: a job and a dispatcher are one struct each, or keyed() says what its key is", what))
					}
				}
			}
			return true
		})
		return found
	}
}

// mapByName reports whether a type is a map whose key may be a job's id, a
// dispatcher's name, or an idempotency key.
func mapByName(t ast.Expr) bool {
	m, ok := t.(*ast.MapType)
	if !ok {
		return false
	}
	switch key := m.Key.(type) {
	case *ast.Ident:
		return slices.Contains([]string{"string", "ID", "Key"}, key.Name)
	case *ast.SelectorExpr:
		return slices.Contains([]string{"ULID", "ID", "Key"}, key.Sel.Name)
	case *ast.ArrayType:
		return true // the bytes of an id
	}
	return false
}
