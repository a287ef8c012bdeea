//go:build linux

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"dispatchd/test/box"
)

// burdenEnv has the test binary execute what it is told with as much of its own
// state as execve(2) passes on.
const burdenEnv = "CLI_TEST_BURDEN"

// burden ignores every signal, blocks every signal, opens descriptors that are
// inherited, and lets nobody read what it makes; then it executes a program.
func burden(argv []string) error {
	unix.Umask(0o077)
	for fd := 9; fd < 12; fd++ {
		if err := unix.Dup3(2, fd, 0); err != nil {
			return err
		}
	}
	ignore := [8]uintptr{1} // SIG_IGN in the first word, on all but MIPS
	for s := uintptr(1); s <= 64; s++ {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
		if errno != 0 && s != uintptr(unix.SIGKILL) && s != uintptr(unix.SIGSTOP) {
			return fmt.Errorf("signal %d: %w", s, errno)
		}
	}
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil); err != nil {
		return err
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}

// burdened has a command executed so.
func burdened(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append([]string{self, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = self
	cmd.Env = append(os.Environ(), burdenEnv+"=1")
}

// A job finds every signal at its default and none blocked, no descriptor above 3
// and its own umask, whatever ignored, blocked and held the daemon's parent, and
// however the job is started: by a supervisor, as one of a row, with its
// descendants followed, as a direct child, in the foreground.
func TestNothingInherited(t *testing.T) {
	t.Parallel()
	// grep itself is looked at: a shell empties its mask.
	const signals = `command = ["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]` + "\n"
	const rest = "script = 'umask; exec ls /proc/self/fd'\n"
	ways := map[string]string{
		"shim": "", "direct": "survive_restart = false\n", "tree": "kill_mode = 'tree'\n",
		"mask": "survive_restart = false\numask = '0027'\n", "user": "user = 'nobody'\n", "never": "kill_mode = 'none'\n",
	}
	if os.Geteuid() != 0 {
		delete(ways, "user")
	}
	definitions := map[string]string{}
	for name, text := range ways {
		definitions[name], definitions[name+"-rest"] = text+signals, text+rest
	}
	b := newBox(t, definitions, func(cmd *exec.Cmd) { burdened(t, cmd) })
	const none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
	plain := func(name string) string {
		if name == "mask" {
			return "0027\n0\n1\n2\n3\n4\n" // 4 is the directory that ls reads
		}
		return "0022\n0\n1\n2\n3\n4\n"
	}
	for name := range ways {
		for range 3 { // a row: the next ones may have the supervisor of the first
			if got := b.Log(b.Await(b.Notify(name, "").ID).ID); got != none {
				t.Errorf("%s: %s", name, got)
			}
		}
		if got := b.Log(b.Await(b.Notify(name+"-rest", "").ID).ID); got != plain(name) {
			t.Errorf("%s: %s", name, got)
		}
		for run, want := range map[string]string{name: none, name + "-rest": plain(name)} {
			cmd := exec.Command(box.Program(t, "dispatchd"), "--root", b.Dir, "run", run)
			burdened(t, cmd)
			if got, stderr, code, err := box.Output(cmd); err != nil || code != 0 || got != want {
				t.Errorf("dispatchd run %s: exit %d, %v, %s%s", run, code, err, got, strings.TrimSpace(stderr))
			}
		}
	}
}
