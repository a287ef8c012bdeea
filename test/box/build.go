package box

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// archEnv names the processor that the programs are built for, as GOARCH does;
// the tests themselves stay this machine's. It is how the lane "emulated" runs
// the other lanes' tests.
const archEnv = "DISPATCHD_TEST_ARCH"

// built is where this process has its programs. Main owns dir, and the first
// test that asks for the programs fills it.
var built struct {
	dir  string
	once sync.Once
	out  []byte
	err  error
}

// Main is TestMain of a package that runs the programs: they are built once, by
// the first test that wants them, and removed at the end.
func Main(m *testing.M) int {
	syscall.Umask(0o022) // the daemon refuses definitions that a group can write
	dir, err := os.MkdirTemp("/tmp", "box-bin-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // other users run them, too
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built.dir = dir
	return m.Run()
}

// Programs gives the directory that has all of ./cmd, built as it is shipped.
func Programs(t testing.TB) string {
	t.Helper()
	Look(t)
	if built.dir == "" {
		t.Fatal("TestMain of this package does not call box.Main")
	}
	built.once.Do(func() { built.out, built.err = Build("dispatchd/cmd/...", built.dir) })
	if built.err != nil {
		t.Fatalf("build: %v\n%s", built.err, built.out)
	}
	if arch := os.Getenv(archEnv); arch != "" {
		needEmulator(t, arch)
	}
	return built.dir
}

// needEmulator skips where this machine cannot run the programs: the kernel
// starts an emulator for them only if binfmt_misc knows one. A supervisor is
// started by its path, so an emulator that is named by hand is not enough.
func needEmulator(t testing.TB, arch string) {
	t.Helper()
	program := filepath.Join(built.dir, "dispatchd")
	if err := exec.Command(program, "--version").Run(); errors.Is(err, syscall.ENOEXEC) {
		t.Skipf("no emulator runs programs for %s: install qemu-user-static, and mount binfmt_misc", arch)
	} else if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if want := map[string]elf.Machine{"arm": elf.EM_ARM, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		t.Fatalf("the programs are for %s, want %s", f.Machine, want) // else the lane tests this machine's
	}
}

// Build compiles programs without cgo, as they are shipped, into a directory or
// to a file. It gives what the compiler prints.
func Build(pkg, to string, flags ...string) ([]byte, error) {
	cmd := exec.Command("go", append(append([]string{"build", "-tags=nethttpomithttp2", "-o", to}, flags...), pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if arch := os.Getenv(archEnv); arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+arch, "GOARM=6")
	}
	return cmd.CombinedOutput()
}

// Patch replaces one piece of a source file: the file, from the module's root,
// the piece that is there, and what is put there.
type Patch [3]string

// Variant builds all programs with patches, and gives the daemon's path; its
// supervisor lies beside it. The source itself stays as it is, and must have
// each piece once: else the patch is of a source that has changed.
func Variant(t testing.TB, patches []Patch) string {
	t.Helper()
	Look(t)
	base, dir := root(t), t.TempDir()
	replace := map[string]string{}
	for _, p := range patches {
		name, old, put := p[0], p[1], p[2]
		path := filepath.Join(base, name)
		from := path
		if replace[path] != "" {
			from = replace[path]
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), old); n != 1 {
			t.Fatalf("%s has the piece to patch %d times, want it once. The source has changed: patch it anew.\n%s", name, n, old)
		}
		replace[path] = filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(text), old, put, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, programs := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "programs")
	if err := errors.Join(os.Mkdir(programs, 0o755), os.WriteFile(list, overlay, 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := Build("dispatchd/cmd/...", programs, "-overlay="+list); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return filepath.Join(programs, "dispatchd")
}

// Look looks at every source file of the module. It tells the test cache what a
// test depends on that builds the programs: the compiler that it calls is beyond
// the cache's sight, and go test would answer "ok (cached)" for a daemon that has
// changed since. It is called from a test: what TestMain does before it runs the
// tests is not noted by the cache.
func Look(t testing.TB) {
	t.Helper()
	base, looked := root(t), 0
	err := filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && (ext == ".go" || ext == ".mod") {
			looked++
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil || looked < 50 {
		t.Fatalf("%d source files below %s: %v", looked, base, err)
	}
}

// root is the directory of the module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
