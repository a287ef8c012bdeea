// Package cli holds the commands against their contract: txtar scripts run the
// real programs, each script with a private root and, where it starts one, a
// daemon of its own. What a script waits for is an event, never a time.
package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/box"
)

func TestMain(m *testing.M) {
	if os.Getenv(burdenEnv) != "" {
		fmt.Fprintln(os.Stderr, burden(os.Args[1:]))
		os.Exit(1)
	}
	os.Exit(box.Main(m))
}

// TestScripts runs every script of testdata.
func TestScripts(t *testing.T) {
	bin := box.Programs(t)
	// A socket's path is short, and the directory above is nobody else's.
	root, err := os.MkdirTemp("/tmp", "dctl-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		WorkdirRoot:         root,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setUp(env, bin) },
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "emulated":
				return box.Emulated(), nil
			}
			return false, fmt.Errorf("no condition is named %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": daemonCommand, "imposter": imposterCommand,
			"exits": exitsCommand, "until": untilCommand, "start": startCommand, "sees": seesCommand, "interrupt": interruptCommand, "ends": endsCommand,
			"id": idCommand, "json": jsonCommand,
		},
	})
}

// world is what a script has running.
type world struct {
	dir    string
	bin    string // our programs
	daemon *box.Process
	procs  map[string]*box.Process
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// setUp puts the programs into PATH, names the socket, and writes the script's
// directory into its files.
func setUp(env *testscript.Env, bin string) error {
	w := &world{dir: env.WorkDir, bin: bin, procs: map[string]*box.Process{}}
	env.Values[worldKey{}] = w
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv(ipc.SocketEnv, ipc.RootPaths(w.dir).Socket())
	env.Setenv("TZ", "UTC")
	env.Defer(w.end)
	return filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "$WORK", w.dir)), 0o644)
	})
}

// begin starts a command in the script's directory. A child that held its
// output would keep it from ending, so end kills its group.
func (w *world) begin(ts *testscript.TestScript, program string, args ...string) *box.Process {
	path := program
	if own := filepath.Join(w.bin, program); exists(own) {
		path = own
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = w.dir, environment(ts)
	cmd.Args[0] = program // as a shell would
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p, err := box.Begin(cmd)
	ts.Check(err)
	return p
}

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// end leaves nothing behind: no command, no job, no daemon.
func (w *world) end() {
	for _, p := range w.procs {
		_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
		<-p.Dead
	}
	if w.daemon == nil {
		return
	}
	ctx := context.Background()
	c := &client.Client{Socket: ipc.RootPaths(w.dir).Socket()}
	for _, state := range []ipc.State{ipc.Queued, ipc.Running} {
		jobs, _ := c.Jobs(ctx, ipc.JobFilter{State: state})
		for _, j := range jobs {
			_, _ = c.Cancel(ctx, j.ID)
		}
	}
	for s, err := c.Drain(ctx, true, time.Minute); err == nil && s.Queued+s.Running > 0; {
		s, err = c.Drain(ctx, true, time.Minute)
	}
	_ = w.daemon.Cmd.Process.Signal(syscall.SIGTERM)
	<-w.daemon.Dead
}
