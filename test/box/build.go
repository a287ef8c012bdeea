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
	err  error
	skip string // why they cannot be run here
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

// Emulated reports whether the programs are another processor's. What is left out
// then is a start that must fail: qemu-user (7.2 and 10.0 seen) keeps a lock of its
// own, clone_lock, over the fork of a process that is just starting a thread, and
// its child waits for that lock for ever when it ends without an exec (of "dispatchd
// run" with a command that is not there, 23 of 300).
func Emulated() bool { return os.Getenv(archEnv) != "" }

// Programs gives the directory that has all of ./cmd, built as it is shipped.
func Programs(t testing.TB) string {
	t.Helper()
	if built.dir == "" {
		t.Fatal("TestMain of this package does not call box.Main")
	}
	built.once.Do(func() { built.skip, built.err = buildAll() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	if built.skip != "" {
		t.Skip(built.skip)
	}
	return built.dir
}

// buildAll builds all programs, and says why they cannot be run here, "" = they can.
func buildAll() (skip string, err error) {
	if err := look(); err != nil {
		return "", err
	}
	if out, err := Build(built.dir, "dispatchd/cmd/..."); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	if arch := os.Getenv(archEnv); arch != "" {
		return needEmulator(arch)
	}
	return "", nil
}

// needEmulator says whether this machine can run the programs: the kernel starts
// an emulator for them only if binfmt_misc knows one. A supervisor is started by
// its path, so an emulator that is named by hand is not enough.
func needEmulator(arch string) (skip string, err error) {
	program := filepath.Join(built.dir, "dispatchd")
	if err := exec.Command(program, "--version").Run(); errors.Is(err, syscall.ENOEXEC) {
		return fmt.Sprintf("no emulator runs programs for %s: install qemu-user-static, and mount binfmt_misc", arch), nil
	} else if err != nil {
		return "", err
	}
	f, err := elf.Open(program)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if want := map[string]elf.Machine{"arm": elf.EM_ARM, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		return "", fmt.Errorf("the programs are for %s, want %s", f.Machine, want) // else the lane tests this machine's
	}
	return "", nil
}

// Program is the path of one of ./cmd.
func Program(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Programs(t), name)
}

// Build compiles programs without cgo, as they are shipped, into a directory or
// to a file: what it is given are packages, and flags of go build before them. It
// gives what the compiler prints.
func Build(to string, packages ...string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{"build", "-tags=nethttpomithttp2", "-o", to}, packages...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if arch := os.Getenv(archEnv); arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+arch, "GOARM=6")
	}
	return cmd.CombinedOutput()
}

// Patch replaces one piece of a source file: the file, from the module's root,
// the piece that is there, and what is put there.
type Patch [3]string

// Variant builds the daemon with patches, and gives its path; its supervisor lies
// beside it. The source itself stays as it is, and must have
// each piece once: else the patch is of a source that has changed.
func Variant(t testing.TB, patches []Patch) string {
	t.Helper()
	Look(t)
	base, err := root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
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
	if out, err := Build(programs, "-overlay="+list, "dispatchd/cmd/dispatchd", "dispatchd/cmd/dispatchd-shim"); err != nil {
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
	if err := look(); err != nil {
		t.Fatal(err)
	}
}

// look is Look.
func look() error {
	base, err := root()
	if err != nil {
		return err
	}
	looked := 0
	err = filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" && d.IsDir() {
			return fs.SkipDir
		}
		if ext := filepath.Ext(path); err == nil && (ext == ".go" || ext == ".mod") {
			looked++
			_, err = os.Stat(path)
		}
		return err
	})
	if err == nil && looked < 50 {
		err = errors.New("too few")
	}
	if err != nil {
		return fmt.Errorf("%d source files below %s: %w", looked, base, err)
	}
	return nil
}

// root is the directory of the module.
func root() (string, error) {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, none := os.Stat(filepath.Join(dir, "go.mod")); none == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir, err
}
