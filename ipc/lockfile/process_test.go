package lockfile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child is what this binary does when it is started as a helper.
const child = "LOCKFILE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "":
		os.Exit(m.Run())
	case "hold": // DIR NAME shared|exclusive: hold the lock until stdin ends
		f, err := Try(os.Args[1], os.Args[2], os.Args[3] == "shared", Holder{PID: os.Getpid(), Job: "J1", Command: "helper"})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		runtime.KeepAlive(f)
		os.Exit(0)
	case "inherit": // descriptor 3 is the lock: hold it until stdin ends
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	default:
		panic("unknown helper")
	}
}

// helper is a process that holds something until it is let go.
type helper struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// start runs a command that says "held" when it holds its lock.
func start(t *testing.T, cmd *exec.Cmd) *helper {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{t, cmd, stdin}
	t.Cleanup(h.release)
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "held\n" {
		t.Fatalf("the helper says %q, %v", line, err)
	}
	return h
}

// hold has another process hold a lock.
func hold(t *testing.T, dir, name, how string) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir, name, how)
	cmd.Env = append(os.Environ(), child+"=hold")
	return start(t, cmd)
}

// release lets the helper end, and returns when it has.
func (h *helper) release() {
	_ = h.stdin.Close()
	_ = h.cmd.Wait()
}

// held wants the lock to be held, and gives the holder.
func held(t *testing.T, dir, name string, shared bool) Holder {
	t.Helper()
	f, err := Try(dir, name, shared, Holder{PID: os.Getpid()})
	b, ok := errors.AsType[*BusyError](err)
	if !ok {
		if f != nil {
			Release(f)
		}
		t.Fatalf("lock %s: %v, want it held", name, err)
	}
	if b.Path != filepath.Join(dir, name+".lock") {
		t.Errorf("path %s", b.Path)
	}
	return b.Holder
}

// free wants the lock to be free.
func free(t *testing.T, dir, name string, shared bool) *os.File {
	t.Helper()
	f, err := Try(dir, name, shared, Holder{PID: os.Getpid()})
	if err != nil {
		t.Fatalf("lock %s: %v, want it free", name, err)
	}
	return f
}

// known is what the kernel tells of a holder: on Linux all, elsewhere nothing.
func known(pid int) int {
	if runtime.GOOS == "linux" {
		return pid
	}
	return 0
}

func TestExclusive(t *testing.T) {
	dir := t.TempDir()
	h := hold(t, dir, "a", "exclusive")
	want := Holder{Job: "J1", PID: h.cmd.Process.Pid, Command: "helper"}
	for _, shared := range []bool{false, true} {
		got := held(t, dir, "a", shared)
		if got.Start < time.Now().Unix()-60 || got.Start > time.Now().Unix() {
			t.Errorf("start %d", got.Start)
		}
		if got.Start = 0; got != want {
			t.Errorf("holder %+v, want %+v", got, want)
		}
	}
	Release(free(t, dir, "b", false))
	h.release()
	f := free(t, dir, "a", false)
	if got := held(t, dir, "a", true); got.PID != os.Getpid() {
		t.Errorf("in this process: holder %+v", got)
	}
	Release(f)
	Release(free(t, dir, "a", false))
}

func TestShared(t *testing.T) {
	dir := t.TempDir()
	h := hold(t, dir, "a", "shared")
	f := free(t, dir, "a", true)
	if got := held(t, dir, "a", false); got.PID != known(h.cmd.Process.Pid) && got.PID != known(os.Getpid()) {
		t.Errorf("holder %+v", got)
	}
	h.release()
	held(t, dir, "a", false)
	Release(f)
	Release(free(t, dir, "a", false))
}

// What dies frees its lock, whatever its text still says.
func TestKilledHolder(t *testing.T) {
	dir := t.TempDir()
	h := hold(t, dir, "a", "exclusive")
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	if text, _ := os.ReadFile(filepath.Join(dir, "a.lock")); !strings.Contains(string(text), "J1") {
		t.Fatalf("the dead holder's text is %q", text)
	}
	Release(free(t, dir, "a", false))
	if text, _ := os.ReadFile(filepath.Join(dir, "a.lock")); len(text) != 0 {
		t.Errorf("after the release the text is %q", text)
	}
}

// flock(1) beside us is honoured, and ours is by flock(1).
func TestFlock1(t *testing.T) {
	program, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("there is no flock(1) here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.lock")
	if err := os.WriteFile(path, []byte(`{"job":"J0","pid":1}`), 0o660); err != nil {
		t.Fatal(err)
	}
	h := start(t, exec.Command(program, "--no-fork", path, "sh", "-c", "echo held; cat"))
	if got := held(t, dir, "a", false); runtime.GOOS == "linux" && got != (Holder{PID: h.cmd.Process.Pid}) {
		t.Errorf("holder %+v: the text of one that is gone?", got)
	}
	h.release()
	f := free(t, dir, "a", false)
	if err := exec.Command(program, "--nonblock", path, "true").Run(); err == nil {
		t.Error("flock(1) got our lock")
	}
	Release(f)
	if err := exec.Command(program, "--nonblock", path, "true").Run(); err != nil {
		t.Errorf("flock(1) on a free lock: %v", err)
	}
}

// A lock goes on in the child that inherited it, though the process that took
// it has closed its own descriptor: and the holder's name is the child's.
func TestInherited(t *testing.T) {
	dir := t.TempDir()
	f := free(t, dir, "a", false)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"=inherit")
	cmd.ExtraFiles = []*os.File{f}
	h := start(t, cmd)
	_ = f.Close() // not Release: the text is the child's now
	got := held(t, dir, "a", false)
	if runtime.GOOS == "linux" && got != (Holder{PID: cmd.Process.Pid}) {
		t.Errorf("holder %+v, want process %d", got, cmd.Process.Pid)
	}
	h.release()
	Release(free(t, dir, "a", false))
}

// The lock of a process that is dead, held by its orphan.
func TestInheritedFromTheDead(t *testing.T) {
	program, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("there is no flock(1) here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.lock")
	// flock takes the lock, its child's child holds it on and says its own pid.
	cmd := exec.Command(program, path, "sh", "-c", `sh -c 'echo $$ >"$0"; echo held; exec cat' "$0" <&3 & :`, filepath.Join(dir, "pid"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{r}
	start(t, cmd)
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close() })
	_ = cmd.Wait()
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	got := held(t, dir, "a", false)
	if want := strings.TrimSpace(string(text)); runtime.GOOS == "linux" && fmt.Sprint(got.PID) != want {
		t.Errorf("holder %+v, want process %s", got, want)
	}
	_ = w.Close()
	f, err := Wait(t.Context(), dir, "a", false, Holder{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	Release(f)
}

func TestWait(t *testing.T) {
	dir := t.TempDir()
	h := hold(t, dir, "a", "exclusive")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err := Wait(ctx, dir, "a", false, Holder{PID: os.Getpid()})
	if b, ok := errors.AsType[*BusyError](err); !ok || f != nil || b.Holder.PID != h.cmd.Process.Pid {
		t.Fatalf("a wait that is over: %v, %v", f, err)
	}
	got := make(chan error, 1)
	go func() {
		f, err := Wait(t.Context(), dir, "a", false, Holder{PID: os.Getpid()})
		if err == nil {
			Release(f)
		}
		got <- err
	}()
	h.release()
	if err := <-got; err != nil {
		t.Errorf("after the release: %v", err)
	}
	if _, err := Wait(t.Context(), dir, "../a", false, Holder{}); err == nil {
		t.Error("a bad name is waited for")
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "0", "cert:www.example.org", "A_b-c.d:e", strings.Repeat("x", 128), "a..b"} {
		if !ValidName(name) {
			t.Errorf("%q is not valid", name)
			continue
		}
		Release(free(t, dir, name, false))
	}
	before, _ := os.ReadDir(dir)
	for _, name := range []string{
		"", ".", "..", ".hidden", "-a", "_a", ":a", "a/b", "../a", "a b", "a\n", "a\x00", "ä", "a;b", "$(id)", strings.Repeat("x", 129),
	} {
		if f, err := Try(dir, name, false, Holder{}); err == nil || f != nil || ValidName(name) {
			t.Errorf("%q is taken", name)
		}
	}
	if after, _ := os.ReadDir(dir); len(after) != len(before) {
		t.Errorf("files %v", after)
	}
}

// What somebody put in a lock's place is neither followed nor changed.
func TestPlantedFiles(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	link, dangling := filepath.Join(dir, "link.lock"), filepath.Join(dir, "dangling.lock")
	if err := errors.Join(
		os.WriteFile(victim, []byte("precious"), 0o600), os.Symlink(victim, link), os.Symlink(filepath.Join(dir, "new"), dangling),
		os.Mkdir(filepath.Join(dir, "dir.lock"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"link": unix.ELOOP, "dangling": unix.ELOOP, "dir": unix.EISDIR} {
		if runtime.GOOS == "freebsd" && errors.Is(want, unix.ELOOP) {
			want = unix.EMLINK
		}
		if f, err := Try(dir, name, false, Holder{PID: 1}); !errors.Is(err, want) || f != nil {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if text, err := os.ReadFile(victim); string(text) != "precious" || err != nil {
		t.Errorf("the victim is %q, %v", text, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made through a link: %v", err)
	}
	if _, err := Try(filepath.Join(dir, "missing"), "a", false, Holder{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is missing: %v", err)
	}
}

// The holder's text is a help: nothing in it is believed or can hurt.
func TestForeignText(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.lock")
	for _, text := range []string{"", "not JSON", `{"pid":"x"}`, strings.Repeat("[", 1<<20), `{"pid":1,"job":"J9"}`} {
		if err := os.WriteFile(path, []byte(text), 0o660); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		if got := held(t, dir, "a", false); runtime.GOOS == "linux" && got != (Holder{PID: os.Getpid()}) {
			t.Errorf("%.20q: holder %+v", text, got)
		}
		_ = f.Close()
	}
}

// The group that may notify may lock: a file of ours has its directory's group
// and is open to it, whatever the umask.
func TestGroupMayLock(t *testing.T) {
	dir := t.TempDir()
	gid := os.Getgid()
	if os.Geteuid() == 0 {
		gid = 1
	}
	if err := os.Chown(dir, -1, gid); err != nil {
		t.Fatal(err)
	}
	old := syscall.Umask(0o077)
	f := free(t, dir, "a", false)
	syscall.Umask(old)
	defer Release(f)
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if got := int(fi.Sys().(*syscall.Stat_t).Gid); got != gid || fi.Mode().Perm() != 0o660 {
		t.Errorf("group %d, mode %v; want %d, 0660", got, fi.Mode(), gid)
	}
}

// The descriptor does not go to a child by itself.
func TestCloseOnExec(t *testing.T) {
	f := free(t, t.TempDir(), "a", false)
	defer Release(f)
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %x, %v", flags, err)
	}
}
