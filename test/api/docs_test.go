package api

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dispatchd/ipc/server"
)

// call finds a call of the API in a page.
var call = regexp.MustCompile("`(GET|POST) (/[a-z0-9_./{}]*)`")

// The page about the API names every route, and none that there is not.
func TestRoutesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/integration.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, r := range server.Routes() {
		want = append(want, r.Method+" "+r.Path)
	}
	for _, m := range call.FindAllStringSubmatch(string(text), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	slices.Sort(want)
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("calls in the page %q\nroutes %q", got, want)
	}
}

// The README is what a newcomer reads: one screen of use, and links that lead
// somewhere.
func TestReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 60 {
		t.Errorf("README.md has %d lines, at most 60: the rest is for docs/", n)
	}
	pages := []string{"README.md"}
	entries, err := os.ReadDir("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".md") {
			pages = append(pages, "docs/"+e.Name())
		}
	}
	link := regexp.MustCompile(`\]\(([^):#]+)\)`)
	for _, page := range pages {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		dir := "../../" + page[:strings.LastIndex(page, "/")+1]
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(dir + m[1]); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
			}
		}
	}
}
