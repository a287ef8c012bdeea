package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/box"
)

// block is the shell text of a document behind a heading.
func block(t *testing.T, path, heading string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, text2, _ := strings.Cut(string(text), heading)
	m := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(text2)
	if m == nil {
		t.Fatalf("%s has no shell text behind %q", path, heading)
	}
	return m[1]
}

// README's block does what it says when it is pasted, whatever the umask is: all at
// once, each line as soon as the one before has ended.
func TestReadmeStart(t *testing.T) {
	bin := box.Programs(t)
	text := block(t, "../../README.md", "## Start it")
	if !strings.HasPrefix(text, "go build -o bin/ ") {
		t.Fatalf("it does not begin with the build: %q", text)
	}
	_, text, _ = strings.Cut(text, "\n")
	for _, umask := range []string{"0022", "0002", "0077"} {
		dir, err := os.MkdirTemp("/tmp", "readme-") // a socket's path is short
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-eu", "-c", "umask "+umask+"\n"+text)
		cmd.Dir = dir
		var out strings.Builder
		cmd.Stdout = &out
		file, err := os.Create(filepath.Join(dir, "err")) // the daemon keeps it open: a pipe would not end
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = file
		err = cmd.Run()
		c := &client.Client{Socket: ipc.RootPaths(filepath.Join(dir, "box")).Socket()}
		if s, serr := c.Status(t.Context()); serr == nil {
			_ = syscall.Kill(s.PID, syscall.SIGTERM)
			for syscall.Kill(s.PID, 0) == nil && !zombie(s.PID) {
			}
		}
		said, _ := os.ReadFile(file.Name())
		_ = file.Close()
		if err != nil || !strings.Contains(out.String(), "applied") || strings.Count(out.String(), "apply") < 2 {
			t.Errorf("umask %s: %v\n%s\n%s", umask, err, out.String(), said)
		}
	}
}

// zombie reports whether a process has ended and nobody has asked how: its parent
// was the shell.
func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}
