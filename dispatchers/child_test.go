package dispatchers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/client"
)

// TestMain makes the test binary a program such as Example shows: it is started
// again as the supervisor of a job, and as the job.
func TestMain(m *testing.M) {
	begin(odd())
	os.Exit(m.Run())
}

// odd are the functions of the example, and some that do what one would rather
// not meet.
func odd() *dispatchers.Set {
	set := functions()
	dispatchers.Register(set, "add", func(_ context.Context, n []int) (int, error) {
		if len(n) == 0 {
			return 0, errors.New("nothing to add")
		}
		return n[0] + n[1], nil
	})
	dispatchers.Register(set, "stopped", func(ctx context.Context, _ any) (any, error) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return "stopped by signal", nil
	})
	dispatchers.Register(set, "crash", func(context.Context, any) (any, error) {
		panic("the function's own fault")
	})
	dispatchers.Register(set, "read", read)
	dispatchers.Register(set, "read-briefly", read)
	return set
}

// read gives what a file holds; with a pipe it waits for the other end.
func read(ctx context.Context, path string) (string, error) {
	text := make(chan string, 1)
	go func() {
		data, _ := os.ReadFile(path)
		text <- string(data)
	}()
	select {
	case <-ctx.Done():
		fmt.Println("told to stop")
		return "", ctx.Err()
	case s := <-text:
		return s, nil
	}
}

// TestMainReexec starts the test binary as the child of a job: arguments on
// standard input, result on descriptor 3, error on standard error.
func TestMainReexec(t *testing.T) {
	for _, tc := range []struct {
		name, stdin    string
		code           int
		result, stderr string
	}{
		{"add", `[2,3]`, 0, `{"result":5}` + "\n", ""},
		{"add", `[]`, 1, "", "add: nothing to add\n"},
		{"stopped", ``, 0, `{"result":"stopped by signal"}` + "\n", ""},
		{"gone", ``, 1, "", "gone: no function is registered under this name\n"},
	} {
		dir := t.TempDir()
		in, errs, result := filepath.Join(dir, "in"), filepath.Join(dir, "err"), filepath.Join(dir, "result")
		if err := os.WriteFile(in, []byte(tc.stdin), 0o600); err != nil {
			t.Fatal(err)
		}
		files := make([]*os.File, 4)
		for i, path := range []string{in, os.DevNull, errs, result} {
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			files[i] = f
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.StartProcess(self, []string{self}, &os.ProcAttr{
			Env: append(os.Environ(), dispatchers.FunctionEnv+"="+tc.name, "DISPATCHD_PROGRESS_FD=3"), Files: files,
		})
		if err != nil {
			t.Fatal(err)
		}
		state, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		gotErr, _ := os.ReadFile(errs)
		gotResult, _ := os.ReadFile(result)
		if state.ExitCode() != tc.code || string(gotErr) != tc.stderr || string(gotResult) != tc.result {
			t.Errorf("%s %s: code %d, stderr %q, result %q", tc.name, tc.stdin, state.ExitCode(), gotErr, gotResult)
		}
	}
}

// embedded is a private root with a daemon of odd functions in this process.
type embedded struct {
	t     *testing.T
	paths ipc.Paths
	*client.Client
	stop func() error
}

// embed makes the root, with a file that tunes one function.
func embed(t *testing.T) *embedded {
	t.Helper()
	root, err := os.MkdirTemp("", "odd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	e := &embedded{t: t, paths: ipc.RootPaths(root), stop: func() error { return nil }}
	e.Client = &client.Client{Socket: e.paths.Socket()}
	if err := os.Mkdir(e.paths.Dispatchers, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.paths.Dispatchers, "read-briefly.toml"), []byte("timeout = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// start runs a daemon.
func (e *embedded) start() {
	e.t.Helper()
	stop, err := serve(odd(), e.paths)
	if err != nil {
		e.t.Fatal(err)
	}
	e.stop = stop
}

// restart stops the daemon and runs another.
func (e *embedded) restart() {
	e.t.Helper()
	if err := e.stop(); err != nil {
		e.t.Fatal(err)
	}
	e.start()
}

// notify asks for a run.
func (e *embedded) notify(name, arguments string) string {
	e.t.Helper()
	n, err := e.Notify(e.t.Context(), ipc.NotifyRequest{Dispatcher: name, Arguments: json.RawMessage(arguments)})
	if err != nil {
		e.t.Fatal(err)
	}
	return n.ID
}

// ended waits for the end of a job and reads its output.
func (e *embedded) ended(id string) (ipc.Job, string) {
	e.t.Helper()
	ctx := e.t.Context()
	job, err := e.Await(ctx, id)
	if err != nil {
		e.t.Fatal(err)
	}
	log, err := e.Log(ctx, id, 0, false)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	text, err := io.ReadAll(log)
	if err != nil {
		e.t.Fatal(err)
	}
	return job, string(text)
}

// pipe makes a named pipe; opened gives its end for writing, once a function
// has opened the other.
func (e *embedded) pipe(name string) (path string, opened func() *os.File) {
	e.t.Helper()
	path = filepath.Join(e.paths.Root, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		e.t.Fatal(err)
	}
	return path, func() *os.File {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			e.t.Fatal(err)
		}
		return f
	}
}

// TestFunctionCrash: a function that panics fails its own job, and the daemon in
// whose program it is goes on.
func TestFunctionCrash(t *testing.T) {
	e := embed(t)
	job, log := e.ended(e.notify("crash", "null"))
	if job.State != ipc.Failed || job.ExitCode == nil || *job.ExitCode != 2 || !strings.Contains(log, "panic: the function's own fault") {
		t.Errorf("%s, %+v, output %q", job.State, job.Error, log)
	}
	if job, _ := e.ended(e.notify("add", "[2,3]")); job.State != ipc.Succeeded || string(job.Result) != "5" {
		t.Errorf("after the crash: %s, %s", job.State, job.Result)
	}
}

// TestFunctionStops: cancel and timeout reach the function by its context.
func TestFunctionStops(t *testing.T) {
	e := embed(t)
	never, opened := e.pipe("never")
	job, log := e.ended(e.notify("read-briefly", `"`+never+`"`))
	if job.State != ipc.TimedOut || !strings.HasPrefix(log, "told to stop\n") {
		t.Errorf("timeout: %s, %+v, output %q", job.State, job.Error, log)
	}
	id := e.notify("read", `"`+never+`"`)
	gate := opened()
	defer func() { _ = gate.Close() }()
	if _, err := e.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if job, log := e.ended(id); job.State != ipc.Canceled || !strings.HasPrefix(log, "told to stop\n") {
		t.Errorf("cancel: %s, %+v, output %q", job.State, job.Error, log)
	}
}

// TestFunctionOutlivesDaemon: a function goes on while the program that is its
// daemon stops, and the next one has its result.
func TestFunctionOutlivesDaemon(t *testing.T) {
	e := embed(t)
	path, opened := e.pipe("gate")
	id := e.notify("read", `"`+path+`"`)
	gate := opened()
	e.restart()
	if _, err := gate.WriteString("late news"); err != nil {
		t.Fatal(err)
	}
	if err := gate.Close(); err != nil {
		t.Fatal(err)
	}
	job, log := e.ended(id)
	if job.State != ipc.Succeeded || string(job.Result) != `"late news"` || job.Attempt != 1 {
		t.Errorf("%s, %+v, result %s, output %q", job.State, job.Error, job.Result, log)
	}
}

// TestForgottenBegin: a program that does not call begin, but is started for a
// job, must not be a daemon: it would start the job again, without end.
func TestForgottenBegin(t *testing.T) {
	for _, env := range []string{dispatchers.FunctionEnv, "DISPATCHD_SHIM"} {
		t.Setenv(env, "x")
		stop, err := serve(odd(), ipc.RootPaths(t.TempDir()))
		if err == nil {
			_ = stop()
			t.Fatalf("a daemon runs although %s is set", env)
		}
		if !strings.Contains(err.Error(), env) {
			t.Errorf("%s: %v", env, err)
		}
		if err := os.Unsetenv(env); err != nil {
			t.Fatal(err)
		}
	}
}
