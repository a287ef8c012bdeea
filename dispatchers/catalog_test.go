package dispatchers

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// catalogOf has these good dispatchers, each known by its Description, and these
// bad ones.
func catalogOf(good map[string]string, bad ...string) *Catalog {
	c := &Catalog{Specs: map[string]*Spec{}, Disabled: map[string][]Fault{}}
	for name, mark := range good {
		c.Specs[name] = &Spec{Name: name, Description: mark}
	}
	for _, name := range bad {
		c.Disabled[name] = []Fault{{File: name + ".toml", Message: "is bad"}}
	}
	return c
}

// A reload keeps the last good definition of a file that is bad now. A file that
// was taken away takes its dispatcher away, unless a directory cannot be listed.
func TestKeepGood(t *testing.T) {
	old := func() *Catalog {
		return catalogOf(map[string]string{"same": "old", "broken": "old", "removed": "old"}, "mended", "worse")
	}
	for _, tc := range []struct {
		name     string
		unlisted bool
		want     map[string]string
	}{
		{"all directories are read", false, map[string]string{"same": "new", "mended": "new", "broken": "old"}},
		{"one cannot be listed", true, map[string]string{"same": "new", "mended": "new", "broken": "old", "removed": "old"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := catalogOf(map[string]string{"same": "new", "mended": "new"}, "broken", "worse")
			if tc.unlisted {
				c.Unlisted = []Fault{{File: "etc", Message: "permission denied"}}
			}
			c.KeepGood(old())
			if len(c.Specs) != len(tc.want) {
				t.Errorf("specs %v, want %v", c.Names(), tc.want)
			}
			for name, mark := range tc.want {
				if s := c.Specs[name]; s == nil || s.Description != mark {
					t.Errorf("%s: %+v, want the %s one", name, s, mark)
				}
			}
			if c.Disabled["broken"] == nil {
				t.Error("the fault is forgotten with the file that has it")
			}
		})
	}
}

// A second reload keeps what the first one kept.
func TestKeepGoodTwice(t *testing.T) {
	first, second := catalogOf(nil, "a"), catalogOf(nil, "a")
	first.KeepGood(catalogOf(map[string]string{"a": "good"}))
	second.KeepGood(first)
	if s := second.Specs["a"]; s == nil || s.Description != "good" {
		t.Errorf("after two bad reloads: %+v", s)
	}
	mended := catalogOf(map[string]string{"a": "mended"})
	mended.KeepGood(second)
	if s := mended.Specs["a"]; s.Description != "mended" {
		t.Errorf("a good file does not replace what was kept: %+v", s)
	}
}

func TestBroken(t *testing.T) {
	c := catalogOf(map[string]string{"good": ""}, "bad")
	for name, want := range map[string]bool{"good": false, "bad": true, "unknown": false} {
		if faults, broken := c.Broken(name); broken != want || (len(faults) > 0) != want {
			t.Errorf("%s: %t, %v", name, broken, faults)
		}
	}
	// A name that is not found may be in the directory that cannot be listed.
	c.Unlisted = []Fault{{File: "etc"}}
	for name, want := range map[string]bool{"good": false, "bad": true, "unknown": true} {
		if _, broken := c.Broken(name); broken != want {
			t.Errorf("%s beside an unlisted directory: %t", name, broken)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct {
		c    *Catalog
		want []string
	}{
		{&Catalog{}, nil},
		{catalogOf(map[string]string{"b": "", "a": ""}), []string{"a", "b"}},
		{catalogOf(map[string]string{"b": ""}, "c", "a"), []string{"a", "b", "c"}},
		{catalogOf(map[string]string{"a": ""}, "a"), []string{"a"}}, // kept from before
	} {
		if got := tc.c.Names(); !slices.Equal(got, tc.want) {
			t.Errorf("names %v, want %v", got, tc.want)
		}
		if tc.c.Disabled["b"] != nil {
			t.Error("Names changed the catalog")
		}
	}
}

// A whole reload by files: change, break, mend, mask, take away.
func TestReloadByFiles(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "etc", "a.toml")
	var inForce *Catalog
	for _, step := range []struct {
		text string // "-" = no file
		want time.Duration
		bad  bool
	}{
		{"script = 'x'\ntimeout = 1", time.Second, false},
		{"script = 'x'\ntimeout = 2", 2 * time.Second, false},
		{"script = 'x'\ntimeout = '2'", 2 * time.Second, true},
		{"script = 'x'\ntimeout = [", 2 * time.Second, true},
		{"script = 'x'\ntimeout = 3", 3 * time.Second, false},
		{"", -1, false},
		{"script = 'x'\ntimeout = 4", 4 * time.Second, false},
		{"-", -1, false},
	} {
		if step.text == "-" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, path, step.text)
		}
		c := Load(Options{Dirs: []string{filepath.Dir(path)}, SkipOwnership: true})
		if inForce != nil {
			c.KeepGood(inForce)
		}
		inForce = c
		if s := c.Specs["a"]; (s == nil) != (step.want < 0) || s != nil && s.Timeout != step.want {
			t.Errorf("after %q: %+v", step.text, s)
		}
		if _, bad := c.Broken("a"); bad != step.bad {
			t.Errorf("after %q: broken %t", step.text, bad)
		}
	}
}
