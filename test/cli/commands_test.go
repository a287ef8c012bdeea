package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// daemonCommand is "daemon start [FLAG...]", which returns when it is ready;
// "daemon stop", which wants a clean end; "daemon kill"; and "daemon says
// REGEXP" of its log.
func daemonCommand(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	switch args[0] {
	case "start":
		w.daemon = w.begin(ts, "dispatchd", append([]string{"--root", w.dir}, args[1:]...)...)
		ts.Check(w.daemon.Up())
	case "stop":
		ts.Check(w.daemon.Cmd.Process.Signal(syscall.SIGTERM))
		if code := w.daemon.Code(); code != 0 {
			ts.Fatalf("the daemon ended with %d: %s", code, w.daemon.Err)
		}
		w.daemon = nil
	case "kill":
		w.daemon.Kill()
		w.daemon = nil
	case "says":
		ts.Check(w.daemon.Err.Await(regexp.MustCompile(args[1])))
	default:
		ts.Fatalf("daemon %s: not known", args[0])
	}
}

// environment is the script's, for processes that begin starts.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "WORK", "TZ", "HOME", "TMPDIR", "NO_COLOR", ipc.SocketEnv} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// imposterCommand is "imposter API BODY": something answers every request on
// the daemon's socket, with this API version and this body.
func imposterCommand(ts *testscript.TestScript, _ bool, args []string) {
	socket := ts.Getenv(ipc.SocketEnv)
	ts.Check(os.MkdirAll(filepath.Dir(socket), 0o755))
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	ts.Check(err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if args[0] != "none" {
			w.Header().Set(ipc.APIHeader, args[0])
		}
		_, _ = w.Write([]byte(args[1]))
	})}
	go func() { _ = s.Serve(l) }()
	ts.Defer(func() { _ = s.Close() })
}

// exitsCommand is "exits CODE PROGRAM [ARG...]".
func exitsCommand(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// untilCommand is "until REGEXP PROGRAM [ARG...]": it runs the program again and
// again until its standard output matches. It is for what nobody tells, such as
// that the daemon has read a line of progress.
func untilCommand(ts *testscript.TestScript, _ bool, args []string) {
	for re := regexp.MustCompile("(?m)" + args[0]); ; {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if re.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
}

// startCommand is "start NAME PROGRAM [ARG...]": a process beside the script.
func startCommand(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	w.procs[args[0]] = w.begin(ts, args[1], args[2:]...)
}

// find is the process of a name.
func find(ts *testscript.TestScript, name string) *box.Process {
	p := worldOf(ts).procs[name]
	if p == nil {
		ts.Fatalf("no process is named %s", name)
	}
	return p
}

// seesCommand is "sees NAME out|err REGEXP": it waits until the process has
// printed it; with "! sees" it must have ended and not have printed it.
func seesCommand(ts *testscript.TestScript, neg bool, args []string) {
	p := find(ts, args[0])
	s := map[string]*box.Stream{"out": p.Out, "err": p.Err}[args[1]]
	re := regexp.MustCompile("(?m)" + args[2])
	if neg {
		<-p.Dead
		if re.MatchString(s.String()) {
			ts.Fatalf("%s printed %q: %s", args[0], re, s)
		}
		return
	}
	if err := s.Await(re); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
}

// interruptCommand is "interrupt NAME", as Ctrl-C does.
func interruptCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(find(ts, args[0]).Cmd.Process.Signal(os.Interrupt))
}

// endsCommand is "ends NAME CODE".
func endsCommand(ts *testscript.TestScript, _ bool, args []string) {
	p := find(ts, args[0])
	if got := p.Code(); strconv.Itoa(got) != args[1] {
		ts.Fatalf("%s ended with %d, want %s; stdout: %s, stderr: %s", args[0], got, args[1], p.Out, p.Err)
	}
}

// idCommand is "id VARIABLE": the job's id in the last standard output.
func idCommand(ts *testscript.TestScript, _ bool, args []string) {
	id := regexp.MustCompile(`\b0[0-9A-Z]{25}\b`).FindString(ts.ReadFile("stdout"))
	if id == "" {
		ts.Fatalf("no job's id in %q", ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], id)
}

// jsonCommand is "json FILE LINE KEY=VALUE...": each line of a file, which may
// be stdout or stderr, is an object, and this line (from 1) has these values.
// A KEY is dotted; an empty VALUE wants it absent.
func jsonCommand(ts *testscript.TestScript, _ bool, args []string) {
	var objects []map[string]any
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("%s: %q is no object: %v", args[0], line, err)
		}
		objects = append(objects, object)
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 1 || n > len(objects) {
		ts.Fatalf("%s has %d lines", args[0], len(objects))
	}
	for _, pair := range args[2:] {
		key, want, _ := strings.Cut(pair, "=")
		if got := value(objects[n-1], key); got != want {
			ts.Fatalf("%s is %q, want %q, in %s", key, got, want, ts.ReadFile(args[0]))
		}
	}
}

// value finds what a dotted key has, "" for nothing.
func value(object map[string]any, key string) string {
	first, rest, more := strings.Cut(key, ".")
	v, ok := object[first]
	if !ok {
		return ""
	}
	if inner, is := v.(map[string]any); more && is {
		return value(inner, rest)
	}
	return fmt.Sprint(v)
}
