package ipc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants lists the string constants of one type in a file of this package.
func constants(t *testing.T, file, typ string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != typ {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			s, _ := strconv.Unquote(lit.Value)
			all = append(all, s)
		}
		return true
	})
	if len(all) == 0 {
		t.Fatalf("%s has no constant of type %s", file, typ)
	}
	return all
}

func TestKindsListsEveryKind(t *testing.T) {
	want := constants(t, "error.go", "Kind")
	var got []string
	for _, k := range Kinds() {
		got = append(got, string(k))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Kinds() = %v\nthe constants are %v", got, want)
	}
}

func TestStatesListsEveryState(t *testing.T) {
	var got []string
	for _, s := range States() {
		got = append(got, string(s))
	}
	if want := constants(t, "job.go", "State"); !slices.Equal(got, want) {
		t.Errorf("States() = %v\nthe constants are %v", got, want)
	}
}

// The enum in a field's tag is what the API's description says: it must name
// all that the code can send.
func TestEnumTagsAreComplete(t *testing.T) {
	for _, c := range []struct {
		of        any
		field     string
		file, typ string
	}{
		{Job{}, "State", "job.go", "State"},
		{Job{}, "Origin", "job.go", "Origin"},
		{WaitingFor{}, "Reason", "job.go", "Reason"},
		{Dispatcher{}, "State", "view.go", "DispatcherState"},
	} {
		f, ok := reflect.TypeOf(c.of).FieldByName(c.field)
		if !ok {
			t.Fatalf("%T has no field %s", c.of, c.field)
		}
		if want := strings.Join(constants(t, c.file, c.typ), ","); f.Tag.Get("enum") != want {
			t.Errorf("%T.%s: enum is %q, the constants are %q", c.of, c.field, f.Tag.Get("enum"), want)
		}
	}
}

// Every kind that a request can meet has a row of its own in the table; the
// others are internal errors on the wire, which no job kind is sent as.
func TestKindsHaveCodes(t *testing.T) {
	jobs := []Kind{KindInternal, KindStartFailed, KindExitStatus, KindSignaled, KindTimeout, KindCanceled, KindExpired, KindInterrupted, KindCacheInvalid}
	for _, k := range Kinds() {
		if s := k.Status(); s < 400 || s > 599 {
			t.Errorf("%s: status %d", k, s)
		}
		if slices.Contains(jobs, k) {
			continue
		}
		if k.Status() == 500 || k.ExitCode() == ExitInternal {
			t.Errorf("%s has no row in the table of codes", k)
		}
	}
	if Kind("new").Status() != 500 || Kind("new").ExitCode() != ExitInternal {
		t.Error("an unknown kind is not an internal error")
	}
}

func TestStateExitCodes(t *testing.T) {
	want := map[State]int{Succeeded: 0, Failed: 1, TimedOut: 124, Canceled: 125, Expired: 125, Interrupted: 125}
	for s, code := range want {
		if s.ExitCode() != code || !s.Final() {
			t.Errorf("%s: exit %d, final %v; want exit %d", s, s.ExitCode(), s.Final(), code)
		}
	}
	for _, s := range []State{Queued, Running, ""} {
		if s.Final() {
			t.Errorf("%q is final", s)
		}
	}
}

func TestFindSocket(t *testing.T) {
	t.Setenv(SocketEnv, "/from/env")
	if got := FindSocket("/from/flag"); got != "/from/flag" {
		t.Errorf("with a flag: %s", got)
	}
	if got := FindSocket(""); got != "/from/env" {
		t.Errorf("with the variable: %s", got)
	}
	t.Setenv(SocketEnv, "")
	if got := FindSocket(""); got != DefaultPaths().Socket() && got != SystemPaths().Socket() {
		t.Errorf("by itself: %s", got)
	}
}

func TestUserPathsFollowXDG(t *testing.T) {
	for _, env := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(env, "/x/"+env)
	}
	p := UserPaths()
	want := Paths{
		Config: "/x/XDG_CONFIG_HOME/dispatchd/dispatchd.toml", Dispatchers: "/x/XDG_CONFIG_HOME/dispatchd/dispatchers.d",
		Packages: "/x/XDG_DATA_HOME/dispatchd/dispatchers.d", Run: "/x/XDG_RUNTIME_DIR/dispatchd",
		State: "/x/XDG_STATE_HOME/dispatchd", Cache: "/x/XDG_CACHE_HOME/dispatchd",
	}
	if p != want {
		t.Errorf("UserPaths() = %+v\nwant %+v", p, want)
	}
	t.Setenv("HOME", "/home/u")
	t.Setenv("XDG_STATE_HOME", "relative/is/ignored")
	t.Setenv("XDG_RUNTIME_DIR", "")
	if p := UserPaths(); p.State != "/home/u/.local/state/dispatchd" || p.Run != "/home/u/.local/state/dispatchd/run" {
		t.Errorf("without a runtime directory: state %s, run %s", p.State, p.Run)
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		job  Job
		want int
	}{
		{Job{State: Succeeded, ExitCode: new(0)}, 0},
		{Job{State: Succeeded, ExitCode: new(3)}, 3}, // success_exit_codes has it
		{Job{State: Failed, ExitCode: new(7)}, 7},
		{Job{State: Failed, ExitCode: new(0)}, 1}, // success_exit_codes has it not
		{Job{State: Failed, Signal: "SIGSEGV"}, 139},
		{Job{State: Failed, Signal: "SIGKILL"}, 137},
		{Job{State: Failed, Signal: SignalName(firstRealtime() + 6)}, 128 + firstRealtime() + 6},
		{Job{State: Failed, Signal: "SIG7X"}, 1},
		{Job{State: Failed, Error: &JobError{Kind: KindStartFailed, ExitStatus: 127}}, 127},
		{Job{State: Failed, Error: &JobError{Kind: KindStartFailed}}, 126},
		{Job{State: Failed, Error: &JobError{Kind: KindIncludeMissing}}, 1},
		{Job{State: TimedOut, Signal: "SIGTERM"}, 124},
		{Job{State: TimedOut, ExitCode: new(9)}, 9},
		{Job{State: Canceled, Signal: "SIGTERM"}, 125},
		{Job{State: Expired}, 125},
		{Job{State: Interrupted}, 125},
	} {
		if got := c.job.ExitStatus(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.job, got, c.want)
		}
	}
}

// Every signal has a name, and the name leads back to it.
func TestSignalNames(t *testing.T) {
	for n := 1; n < 65; n++ {
		if name := SignalName(n); SignalNumber(name) != n || !strings.HasPrefix(name, "SIG") {
			t.Errorf("%d is %s, which is %d", n, name, SignalNumber(name))
		}
	}
	for _, none := range []string{"", "SIG", "KILL", "SIGRTMIN+x", "SIG-1", "40"} {
		if n := SignalNumber(none); n != 0 {
			t.Errorf("%q is %d", none, n)
		}
	}
}
