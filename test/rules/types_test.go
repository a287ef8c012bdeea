package rules

import (
	"go/ast"
	"go/types"
	"path"
	"strings"
)

// typesOf gives the types of a tree's expressions. The checker sees our own
// packages only: those from outside are empty to it, and what is made by them
// has no type. So nothing is built or fetched, and a rule over types costs a
// second. The types that rules ask for are declared in our own packages.
func typesOf(tree []*file) *checker {
	c := checkerOf(tree)
	for dir, files := range c.files {
		c.folder(dir)
		// Tests belong to the package itself, or to one of their own beside it.
		own, beside := []*ast.File{}, []*ast.File{}
		var tests int
		for _, f := range files {
			if strings.HasSuffix(f.path, "_test.go") {
				tests++
			}
			if strings.HasSuffix(f.Name.Name, "_test") {
				beside = append(beside, f.File)
			} else {
				own = append(own, f.File)
			}
		}
		if tests > len(beside) {
			c.check(dir, files[0], own)
		}
		if len(beside) > 0 {
			c.check(dir+"_test", files[0], beside)
		}
	}
	return c
}

// checkerOf makes a checker that has not checked anything: a rule over few
// packages asks for their folders.
func checkerOf(tree []*file) *checker {
	c := &checker{
		files: map[string][]*file{}, checked: map[string]*types.Package{},
		info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}},
	}
	for _, f := range tree {
		c.files[f.dir] = append(c.files[f.dir], f)
	}
	return c
}

// checker is the importer of a tree's packages, and knows all types then.
type checker struct {
	files   map[string][]*file        // by folder
	checked map[string]*types.Package // by folder, without tests
	info    *types.Info
}

// isNamed reports whether an expression's type is the named one of a package,
// "" for any of its types.
func (c *checker) isNamed(e ast.Expr, pkg, name string) bool {
	named, ok := types.Unalias(c.info.TypeOf(e)).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != module+pkg {
		return false
	}
	return name == "" || named.Obj().Name() == name
}

// Import gives one of our packages, or an empty one for any other.
func (c *checker) Import(name string) (*types.Package, error) {
	if dir, own := strings.CutPrefix(name, module); own && len(c.files[dir]) > 0 {
		return c.folder(dir), nil
	}
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// folder checks the package of a folder without its tests, once.
func (c *checker) folder(dir string) *types.Package {
	if p := c.checked[dir]; p != nil {
		return p
	}
	var files []*ast.File
	for _, f := range c.files[dir] {
		if !strings.HasSuffix(f.path, "_test.go") {
			files = append(files, f.File)
		}
	}
	c.checked[dir] = c.check(dir, c.files[dir][0], files)
	return c.checked[dir]
}

// check checks files as one package. Whatever is wrong is the compiler's to
// say: much is unknown here, and some is declared for more than one system.
func (c *checker) check(dir string, any *file, files []*ast.File) *types.Package {
	conf := types.Config{Importer: c, Error: func(error) {}}
	p, _ := conf.Check(module+dir, any.fset, files, c.info)
	return p
}
