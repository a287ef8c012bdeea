package rules

import (
	"go/token"
	"os"
	"strings"
	"testing"
)

// story is one entry of testdata/planted.txt: files, and what a rule has to
// say about them, "" for nothing.
type story struct {
	rule, want string
	tree       []*file
}

// readStories reads "== rule: want", then files headed "-- path --".
func readStories(t *testing.T, name string) []story {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var stories []story
	for _, text := range strings.Split("\n"+string(data), "\n== ")[1:] {
		head, files, _ := strings.Cut(text, "\n")
		s, fset := story{}, token.NewFileSet()
		s.rule, s.want, _ = strings.Cut(head, ": ")
		for _, part := range strings.Split("\n"+files, "\n-- ")[1:] {
			path, source, ok := strings.Cut(part, " --\n")
			if !ok {
				t.Fatalf("%s: no file in %q", name, part)
			}
			f, err := parse(fset, path, source)
			if err != nil {
				t.Fatal(err)
			}
			s.tree = append(s.tree, f)
		}
		if len(s.tree) == 0 {
			t.Fatalf("%s: no file after %q", name, head)
		}
		stories = append(stories, s)
	}
	return stories
}

// TestPlanted shows each rule what it must catch and what it must let pass. A
// story's files are few, so each rule must find exactly what is wanted there.
func TestPlanted(t *testing.T) {
	caught, passed := map[string]int{}, map[string]int{}
	checks := map[string]func([]*file) []string{}
	for _, r := range rules() {
		checks[r.name] = r.check
	}
	for _, s := range readStories(t, "testdata/planted.txt") {
		check := checks[s.rule]
		if check == nil {
			t.Fatalf("there is no rule %q", s.rule)
		}
		switch found := check(s.tree); {
		case s.want == "" && len(found) > 0:
			t.Errorf("%s: refused: %q", s.rule, found)
		case s.want == "":
			passed[s.rule]++
		case len(found) != 1 || !strings.Contains(found[0], s.want):
			t.Errorf("%s: found %q, want one with %q", s.rule, found, s.want)
		default:
			caught[s.rule]++
		}
	}
	delete(checks, "length") // TestPlantedLength
	for name := range checks {
		if caught[name] == 0 || passed[name] == 0 {
			t.Errorf("rule %q: %d planted breaches caught, %d good programs let pass, want one of each", name, caught[name], passed[name])
		}
	}
}

// TestPlantedLength plants files that are too long for a text file of stories.
func TestPlantedLength(t *testing.T) {
	for _, c := range []struct {
		path  string
		lines int
		check func(tree []*file) []string
		want  int
	}{
		{"daemon/x/long_test.go", maxLines, each(checkLength), 0},
		{"daemon/x/long_test.go", maxLines + 1, each(checkLength), 1},
		{"daemon/x/long_test.go", productLines + 1, checkNumbers, 0},
		{"daemon/x/long.go", productLines, checkNumbers, 0},
		{"daemon/x/long.go", productLines + 1, checkNumbers, 1},
	} {
		f, err := parse(token.NewFileSet(), c.path, "package x\n"+strings.Repeat("// x\n", c.lines-1))
		if err != nil {
			t.Fatal(err)
		}
		if found := c.check([]*file{f}); len(found) != c.want {
			t.Errorf("%s, %d lines: found %q", c.path, c.lines, found)
		}
	}
}
