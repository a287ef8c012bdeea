//go:build packages

package packages

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// item is one entry of a list in a man page.
type item struct {
	head string   // what stands behind .It
	body []string // the lines up to the next item of its list
}

// page is a man page's source, taken apart.
type page struct {
	text     string
	sections map[string][]item // the items of each section, nested ones too
}

// readPage reads a page.
func readPage(t *testing.T, name string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../packaging/man", name))
	if err != nil {
		t.Fatal(err)
	}
	p := page{text: string(text), sections: map[string][]item{}}
	section := ""
	var open []int // the item of each list that is open
	for line := range strings.Lines(p.text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ".Sh "):
			section = strings.TrimPrefix(line, ".Sh ")
		case strings.HasPrefix(line, ".Bl "):
			open = append(open, -1)
		case line == ".El":
			open = open[:len(open)-1]
		case strings.HasPrefix(line, ".It "):
			p.sections[section] = append(p.sections[section], item{head: strings.TrimPrefix(line, ".It ")})
			open[len(open)-1] = -1 // the line belongs to the items around it
		}
		for _, i := range open {
			if i >= 0 {
				p.sections[section][i].body = append(p.sections[section][i].body, line)
			}
		}
		if strings.HasPrefix(line, ".It ") {
			open[len(open)-1] = len(p.sections[section]) - 1
		}
	}
	if len(open) != 0 {
		t.Fatalf("%s: a list has no end", name)
	}
	return p
}

// flagWord finds the flags of an .It line: -q and --quiet.
var flagWord = regexp.MustCompile(`(?:Fl|,) (-?[a-zA-Z][a-z-]*)`)

// flagsOf are the flags that an .It line is about.
func flagsOf(head string) []string {
	var flags []string
	if !strings.HasPrefix(head, "Fl ") {
		return nil
	}
	for _, m := range flagWord.FindAllStringSubmatch(head, -1) {
		flags = append(flags, "-"+m[1])
	}
	return flags
}

// flags are all that a section's items are about, but for those of commands.
func (p page) flags(section string) []string {
	var flags []string
	for _, it := range p.sections[section] {
		flags = append(flags, flagsOf(it.head)...)
	}
	return flags
}

// commands maps each command of a page to its flags.
func (p page) commands() map[string][]string {
	found := map[string][]string{}
	for _, it := range p.sections["COMMANDS"] {
		words, ok := strings.CutPrefix(it.head, "Cm ")
		if !ok {
			continue
		}
		words, _, _ = strings.Cut(words, " Ar ")
		words, _, _ = strings.Cut(words, " Op ")
		if name, rest, _ := strings.Cut(words, " "); name != "cache" && name != "import" || rest == "" {
			words = name // what follows are words to choose from
		}
		found[words] = []string{}
		for _, line := range it.body {
			if head, ok := strings.CutPrefix(line, ".It "); ok {
				found[words] = append(found[words], flagsOf(head)...)
			}
		}
	}
	return found
}

// plainText undoes what roff writes differently.
func plainText(s string) string {
	return strings.NewReplacer(`\(dq`, `"`, `\-`, "-", `\e`, `\`).Replace(s)
}

// said is the default that the item of a key says in TOML, false where it says
// one in words, or none.
func (it item) said() (string, bool) {
	if len(it.body) == 0 {
		return "", false
	}
	text, ok := strings.CutPrefix(it.body[0], ".Pq default Li ")
	return plainText(text), ok
}

// keys maps each key that a page has an item for to this.
func (p page) keys() map[string]item {
	keys := map[string]item{}
	for _, items := range p.sections {
		for _, it := range items {
			names, ok := strings.CutPrefix(it.head, "Ic ")
			if !ok {
				continue
			}
			for name := range strings.SplitSeq(names, " , ") {
				keys[name] = it
			}
		}
	}
	return keys
}
