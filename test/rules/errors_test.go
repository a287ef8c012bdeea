package rules

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// checkErrorText wants errors as "what: cause". That something failed is what
// an error says by being one.
func checkErrorText(f *file) []string {
	var found []string
	if f.test {
		return nil
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !f.calls(call, "errors.New", "fmt.Errorf", module+"ipc.Errorf") {
			return true
		}
		for _, arg := range call.Args {
			lit, ok := arg.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			text, _ := strconv.Unquote(lit.Value)
			for _, word := range []string{"failed to", "unable to", "error while", "error occurred"} {
				if strings.Contains(strings.ToLower(text), word) {
					found = append(found, f.at(lit, "%q in an error: say what and cause", word))
				}
			}
			if strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "\n") {
				found = append(found, f.at(lit, "an error's text is part of a longer line: no full stop"))
			}
			break // the first string is the text
		}
		return true
	})
	return found
}

// checkLoggedAndReturned finds blocks that log an error and return it as well:
// then it is in the log twice, or the log has what a caller dealt with.
func checkLoggedAndReturned(f *file) []string {
	var found []string
	if f.test {
		return nil
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		block, ok := n.(*ast.BlockStmt)
		if !ok {
			return true
		}
		logged := map[string]bool{}
		for _, s := range block.List {
			switch s := s.(type) {
			case *ast.ExprStmt:
				for _, name := range loggedNames(s.X) {
					logged[name] = true
				}
			case *ast.ReturnStmt:
				for _, result := range s.Results {
					if mentions(result, logged) {
						found = append(found, f.at(s, "an error is logged and returned: do one of them"))
					}
				}
			}
		}
		return true
	})
	return found
}

// loggedNames lists the error variables that a call of a logger is given.
func loggedNames(e ast.Expr) []string {
	var names []string
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return nil
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, sel.Sel.Name) {
		return nil
	}
	for _, arg := range call.Args {
		if id, ok := arg.(*ast.Ident); ok && strings.HasPrefix(strings.ToLower(id.Name), "err") {
			names = append(names, id.Name)
		}
	}
	return names
}

// mentions reports whether an expression has one of these names in it.
func mentions(e ast.Expr, names map[string]bool) bool {
	var found bool
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && names[id.Name] {
			found = true
		}
		return true
	})
	return found
}

// checkStatus keeps HTTP statuses of errors in one table, ipc's Kind.Status:
// a second one would tell programs something else.
func checkStatus(f *file) []string {
	if f.test || f.dir == "ipc" {
		return nil
	}
	var found []string
	free := strings.Fields("StatusOK StatusAccepted StatusNoContent StatusNotModified StatusText")
	f.used(func(sel *ast.SelectorExpr, pkg, name string) {
		if pkg == "net/http" && strings.HasPrefix(name, "Status") && !slices.Contains(free, name) && !statuses()[f.path+" "+name] {
			found = append(found, f.at(sel, "http.%s: the status of an error follows from its kind, see ipc.Kind", name))
		}
	})
	return found
}

// statuses are the uses that read a status which a library has chosen.
func statuses() map[string]bool {
	return map[string]bool{
		"ipc/server/errors.go StatusRequestEntityTooLarge": true,
		"ipc/server/errors.go StatusNotFound":              true,
	}
}

// checkPerform keeps the queue's decisions in one place: perform alone looks at
// the effects, so that what comes first, the journal or the deed, is read there.
func checkPerform(tree []*file) []string {
	effects := map[string]bool{}
	for _, f := range tree {
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && f.dir == "daemon/internal/queue" && d.Recv != nil && d.Name.Name == "effect" {
				effects[lastName(d.Recv.List[0].Type)] = true
			}
		}
	}
	var found []string
	for _, f := range tree {
		if f.test || f.dir == "daemon/internal/queue" {
			continue
		}
		for _, decl := range f.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Body == nil || d.Name.Name == "perform" {
				continue
			}
			ast.Inspect(d.Body, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !effects[sel.Sel.Name] {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && f.names()[x.Name] == module+"daemon/internal/queue" {
					found = append(found, f.at(sel, "%s looks at the effect %s: perform does", d.Name.Name, sel.Sel.Name))
				}
				return true
			})
		}
	}
	return found
}
