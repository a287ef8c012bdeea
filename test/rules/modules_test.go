package rules

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// indirect are the modules that others bring along, and who does.
func indirect() map[string]string {
	return map[string]string{
		"golang.org/x/text":                    "jsonschema says its messages with it",
		"github.com/inconshreveable/mousetrap": "cobra, on Windows",
		"golang.org/x/tools":                   "go-internal reads its scripts with it",
	}
}

// checkModules judges the text of go.mod.
func checkModules(text string) []string {
	var found []string
	block := ""
	for line := range strings.Lines(text) {
		line, comment, _ := strings.Cut(strings.TrimSpace(line), "//")
		words := strings.Fields(line)
		if block != "" {
			words = append([]string{block}, words...)
		}
		switch {
		case len(words) < 2 || words[len(words)-1] == ")":
			block = ""
			continue
		case words[1] == "(":
			block = words[0]
			continue
		}
		if why := judgeDirective(words, comment); why != "" {
			found = append(found, "go.mod: "+why)
		}
	}
	return found
}

// judgeDirective says what is wrong with one directive of go.mod.
func judgeDirective(words []string, comment string) string {
	switch words[0] {
	case "module":
		return ""
	case "go": // go mod tidy writes the .0 as soon as a dependency does
		if words[1] != "1.26" && words[1] != "1.26.0" {
			return "go " + words[1] + ": want 1.26, so that every 1.26 builds it"
		}
		return ""
	case "require":
		if strings.Contains(comment, "indirect") && indirect()[words[1]] != "" {
			return ""
		}
		known := slices.ContainsFunc(outside(), func(o origin) bool { return o.path == words[1] || strings.HasPrefix(o.path, words[1]+"/") })
		if !known {
			return fmt.Sprintf("%s is neither in outside() nor in indirect(): a dependency needs a reason", words[1])
		}
		return ""
	}
	return words[0] + " reaches everybody who imports us: pin tools by go run, patch nothing"
}

func TestModules(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range checkModules(string(text)) {
		t.Error(wrong)
	}
}

func TestPlantedModules(t *testing.T) {
	for text, want := range map[string]string{
		"module dispatchd\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/spf13/cobra v1.10.2\n\tgolang.org/x/sys v0.49.0 // kernel\n)\n": "",
		"require github.com/inconshreveable/mousetrap v1.1.0 // indirect\n":                                                       "",
		"require github.com/inconshreveable/mousetrap v1.1.0\n":                                                                   "neither in outside()",
		"require (\n\tgithub.com/stretchr/testify v1.12.1\n)\n":                                                                   "testify is neither",
		"require github.com/stretchr/testify v1.12.1 // indirect\n":                                                               "testify is neither",
		"require github.com/spf13/cobra-cli v1.0.0\n":                                                                             "cobra-cli is neither",
		"go 1.26.8\n":                                  "want 1.26",
		"go 1.26\ntoolchain go1.26.8\n":                "toolchain reaches everybody",
		"tool (\n\tmvdan.cc/gofumpt\n)\n":              "tool reaches everybody",
		"replace github.com/spf13/cobra => ../cobra\n": "replace reaches everybody",
		"require (\n\tgithub.com/spf13/cobra v1.10.2\n)\n\nexclude golang.org/x/sys v0.49.0\n": "exclude reaches everybody",
	} {
		found := strings.Join(checkModules(text), "\n")
		if (want == "") != (found == "") || !strings.Contains(found, want) {
			t.Errorf("%s: found %q, want %q", text, found, want)
		}
	}
}
