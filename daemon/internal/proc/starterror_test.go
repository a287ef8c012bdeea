package proc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dispatchd/dispatchers/mode"
)

// The error of a start names what is really wrong: the command, its interpreter, its
// missing #! line, or the working directory.
func TestStartErrorNames(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := file("plain", "echo x\n", 0o644)
	for _, c := range []struct {
		command, dir string
		says         string
		is           error
	}{
		{dir + "/none", "/", `none": no such file or directory`, syscall.ENOENT},
		{file("missing", "#!/no/such/sh -eu\necho x\n", 0o755), "/", `missing": no such file or directory: its interpreter "/no/such/sh" is not there`, syscall.ENOENT},
		{file("spaced", "#!   \t/no/such/sh\n", 0o755), "/", `its interpreter "/no/such/sh" is not there`, syscall.ENOENT},
		{file("windows", "#!/bin/sh\r\necho x\r\n", 0o755), "/", `its interpreter "/bin/sh\r" ends with a carriage return`, syscall.ENOENT},
		{file("closed", "#!"+plain+"\n", 0o755), "/", `its interpreter "` + plain + `" is not executable`, syscall.EACCES},
		{file("bare", "echo x\n", 0o755), "/", `exec format error: it has no #! line that names its interpreter`, syscall.ENOEXEC},
		{file("empty", "", 0o755), "/", `exec format error: it is empty`, syscall.ENOEXEC},
		{file("strange", "\x7fNOT\x00\x01", 0o755), "/", `exec format error: it is no program of this machine`, syscall.ENOEXEC},
		{plain, "/", `plain": permission denied: it is not executable (mode 0644); run: chmod +x ` + plain, syscall.EACCES},
		{dir, "/", `permission denied: it is a directory`, syscall.EACCES},
		{"/bin/true", plain, "working directory " + plain + ": not a directory", syscall.ENOTDIR},
		{"/bin/true", dir + "/none", "working directory " + dir + "/none: no such file or directory", syscall.ENOENT},
		{"/bin/true", plain + "/below", "working directory " + plain + "/below: not a directory", syscall.ENOTDIR},
	} {
		l := Launch{Argv: []string{c.command}, Dir: c.dir, Umask: -1, OutputFile: filepath.Join(t.TempDir(), "out"), KillMode: mode.Group}
		p, err := Start(l, func(Update) {})
		if err == nil {
			p.Kill()
			t.Errorf("%s in %s: it starts", c.command, c.dir)
			continue
		}
		if !strings.Contains(err.Error(), c.says) || !errors.Is(err, c.is) || IsTransient(err) {
			t.Errorf("%s in %s: %v, want %q", c.command, c.dir, err, c.says)
		}
	}
}
