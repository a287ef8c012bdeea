// Package cli holds the commands against their contract: txtar scripts run the
// real programs, each script with a private root and, where it starts one, a
// daemon of its own. What a script waits for is an event, never a time.
package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/sources"
)

var bin string // where TestMain built the programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	syscall.Umask(0o022) // definitions that a group can write are refused
	dir, err := os.MkdirTemp("", "dctl-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // another user runs them too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if out, err := sources.Build("dispatchd/cmd/...", dir); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	bin = dir
	return m.Run()
}

// patience bounds each wait for an event: a script that hangs says where.
const patience = 30 * time.Second

// TestScripts runs every script of testdata.
func TestScripts(t *testing.T) {
	sources.Look(t)
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
		Setup:               setUp,
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition is named %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": daemonCommand, "imposter": imposterCommand,
			"exits": exitsCommand, "start": startCommand, "sees": seesCommand, "interrupt": interruptCommand, "ends": endsCommand,
			"id": idCommand, "json": jsonCommand,
		},
	})
}

// world is what a script has running.
type world struct {
	dir    string
	daemon *process
	procs  map[string]*process
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// setUp puts the programs into PATH, names the socket, and writes the script's
// directory into its files.
func setUp(env *testscript.Env) error {
	w := &world{dir: env.WorkDir, procs: map[string]*process{}}
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

// end leaves nothing behind: no command, no job, no daemon.
func (w *world) end() {
	for _, p := range w.procs {
		p.kill()
	}
	if w.daemon == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := &client.Client{Socket: ipc.RootPaths(w.dir).Socket()}
	for _, state := range []ipc.State{ipc.Queued, ipc.Running} {
		jobs, _ := c.Jobs(ctx, ipc.JobFilter{State: state})
		for _, j := range jobs {
			_, _ = c.Cancel(ctx, j.ID)
		}
	}
	_, _ = c.Drain(ctx, true, patience)
	_ = w.daemon.cmd.Process.Signal(syscall.SIGTERM)
	<-w.daemon.done
}
