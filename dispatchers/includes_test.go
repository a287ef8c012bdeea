package dispatchers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// TestCheckIncludes: what Load could not see, or has changed since, is found
// before the shell loads it.
func TestCheckIncludes(t *testing.T) {
	root := t.TempDir()
	inc := filepath.Join(root, "inc")
	write(t, filepath.Join(root, "etc/a.toml"), "script = \"f\"\npackage_includes = [\""+inc+"/one.sh\", \""+inc+"/two.sh\"]")
	c := Load(Options{Dirs: []string{filepath.Join(root, "etc")}, TrustUID: os.Geteuid()})
	spec := c.Specs["a"]
	if spec == nil {
		t.Fatalf("missing includes disable a dispatcher: %v", c.Faults)
	}
	for _, step := range []struct {
		name, want string
		do         func() error
	}{
		{"nothing there", "include_missing: include " + inc + "/one.sh: no such file", func() error { return nil }},
		{"one there", "include_missing: include " + inc + "/two.sh: no such file", func() error {
			write(t, inc+"/one.sh", "f() { :; }")
			return nil
		}},
		{"both there", "", func() error { write(t, inc+"/two.sh", ":"); return nil }},
		{"open to all", "dispatcher_disabled: include " + inc + "/two.sh: can be written by group or others (mode 0666)", func() error { return os.Chmod(inc+"/two.sh", 0o666) }},
		{"closed again", "", func() error { return os.Chmod(inc+"/two.sh", 0o644) }},
		{"directory open to all", "dispatcher_disabled: include " + inc + "/one.sh: " + inc + " can be written by group or others (mode 0777)", func() error { return os.Chmod(inc, 0o777) }},
		{"directory in place of a file", "dispatcher_disabled: include " + inc + "/one.sh: is not a regular file", func() error {
			return firstError(os.Chmod(inc, 0o755), os.Remove(inc+"/one.sh"), os.Mkdir(inc+"/one.sh", 0o755))
		}},
		{"link", "dispatcher_disabled: include " + inc + "/one.sh: is a symbolic link", func() error {
			return firstError(os.Remove(inc+"/one.sh"), os.Symlink(inc+"/two.sh", inc+"/one.sh"))
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		err := spec.CheckIncludes(os.Geteuid())
		if step.want == "" {
			if err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			continue
		}
		e, ok := errors.AsType[*ipc.Error](err)
		if !ok || string(e.Kind)+": "+e.Detail != step.want || e.Dispatcher != "a" || (e.Suggestion == "") != strings.Contains(step.want, "regular") {
			t.Errorf("%s: %+v, want %q", step.name, err, step.want)
		}
	}
}
