package dispatchers

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Line ends of CR LF are read as LF, in strings of several lines too: a shell would
// take the CR for a part of the last word. Places stay as an editor shows them.
func TestCarriageReturns(t *testing.T) {
	lines := "# a comment\ndescription = 'd'\nscript = '''\ncd /\n  echo a \\\n  b\n'''\n[environment]\nA = \"\"\"one\ntwo\\r\\n\"\"\"\n"
	want, faults := merged(lines)
	if want == nil {
		t.Fatal(faults)
	}
	got, faults := merged(strings.ReplaceAll(lines, "\n", "\r\n"))
	if got == nil || got.Script != want.Script || got.Environment["A"] != "one\ntwo\r\n" || strings.Contains(got.Script, "\r") {
		t.Errorf("%+v, %v", got, faults)
	}
	_, faults = merged(strings.ReplaceAll("script = '''\na\n'''\n  timeout = 'soon'\n", "\n", "\r\n"))
	if len(faults) != 1 || faults[0].Row != 4 || faults[0].Column != 13 || faults[0].Source != "  timeout = 'soon'" {
		t.Errorf("place of a fault: %+v", faults)
	}
	for text, place := range map[string][2]int{
		"script = '''\ra\r'''\r":          {1, 13}, // an old Macintosh
		"script = '''\r\na\r\r\nb'''\r\n": {2, 2},
		"# comment\rscript = 'x'\n":       {1, 10},
		"script = 'x'\n# the end\r":       {2, 10},
	} {
		_, faults := merged(text)
		if len(faults) != 1 || faults[0].Row != place[0] || faults[0].Column != place[1] || !strings.Contains(faults[0].Message, "carriage return") {
			t.Errorf("%q: %+v", text, faults)
		}
	}
	if _, faults := merged("\ufeffscript = 'x'\r\n"); len(faults) != 1 || !strings.Contains(faults[0].Message, "byte order mark") {
		t.Errorf("byte order mark: %v", faults)
	}
}

// A socket, a pipe or a directory that is named like a definition is said to be one.
func TestNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "x.toml"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := os.Mkdir(filepath.Join(dir, "y.toml"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := Load(Options{Dirs: []string{dir}, TrustUID: os.Geteuid()})
	if f := c.Disabled["x"]; len(f) != 1 || f[0].Message != "is a socket and not a regular file" {
		t.Errorf("socket: %v", f)
	}
	if f := c.Disabled["y"]; len(f) != 1 || !strings.Contains(f[0].Message, "not a regular file") {
		t.Errorf("directory: %v", f)
	}
}
