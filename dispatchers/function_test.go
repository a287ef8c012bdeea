package dispatchers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// renew is an argument type with all that strict decoding has to look at.
type renew struct {
	Name  string             `json:"name"`
	Hosts []struct{ ID int } `json:"hosts"`
	Tags  map[string]string  `json:"tags"`
	When  *time.Time         `json:"when,omitempty"`
	Any   any                `json:"any"`
}

func TestRunChild(t *testing.T) {
	set := NewSet()
	Register(set, "renew", func(_ context.Context, a renew) (string, error) {
		switch a.Name {
		case "bad":
			return "", errors.New("certificate is revoked")
		case "huge":
			return strings.Repeat("x", maxResult), nil
		}
		return "renewed " + a.Name, nil
	})
	for _, tc := range []struct{ name, stdin, result, fault string }{
		{"renew", `{"name":"web"}`, `{"result":"renewed web"}` + "\n", ""},
		{"renew", ``, `{"result":"renewed "}` + "\n", ""},
		{"renew", `{"tags":{"Any":"x"},"hosts":[{"ID":1}],"when":"2026-01-02T00:00:00Z","any":{"Z":[{}]}}`, `{"result":"renewed "}` + "\n", ""},
		{"renew", `{"Name":"web"}`, "", `unknown name "Name"`},
		{"renew", `{"hosts":[{"id":1}]}`, "", `unknown name "id" in "$.hosts[0]"`},
		{"renew", `{"nam":"web"}`, "", "unknown field"},
		{"renew", `{"name":"a","name":"b"}`, "", "twice"},
		{"renew", `{"name":"a"} {}`, "", "after top-level value"},
		{"renew", `{"name":5}`, "", "cannot unmarshal"},
		{"renew", `{"name":"bad"}`, "", "renew: certificate is revoked"},
		{"renew", `{"name":"huge"}`, "", "result is larger"},
		{"nothing", `{}`, "", "no function"},
	} {
		var progress bytes.Buffer
		err := set.runChild(t.Context(), tc.name, strings.NewReader(tc.stdin), &progress)
		if tc.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fault) || progress.Len() > 0 {
				t.Errorf("%s: error %v, result %q, want %q", tc.stdin, err, progress.String(), tc.fault)
			}
		} else if err != nil || progress.String() != tc.result {
			t.Errorf("%s: %q, %v", tc.stdin, progress.String(), err)
		}
	}
}

func TestRegisterRefusesFaultsOfTheProgram(t *testing.T) {
	fn := func(context.Context, any) (any, error) { return nil, nil }
	for name, register := range map[string]func(*Set){
		"bad name": func(s *Set) { Register(s, "../x", fn) },
		"taken":    func(s *Set) { Register(s, "a", fn); Register(s, "a", fn) },
		"no function": func(s *Set) {
			Register[any, any](s, "a", nil)
		},
		"option": func(s *Set) { Register(s, "a", fn, func(s *Spec) { s.Concurrency = 0 }) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			register(NewSet())
		})
	}
	var none *Set
	if none.Names() != nil || none.Spec("a") != nil || none.runChild(t.Context(), "a", nil, nil) == nil {
		t.Error("a nil set is not empty")
	}
}

// childSet is what the test binary runs when it is started as a child.
func childSet() *Set {
	set := NewSet()
	Register(set, "add", func(_ context.Context, n []int) (int, error) {
		if len(n) == 0 {
			return 0, errors.New("nothing to add")
		}
		return n[0] + n[1], nil
	})
	Register(set, "wait", func(ctx context.Context, _ any) (any, error) {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Signal(syscall.SIGTERM)
		}
		if err != nil {
			return nil, err
		}
		<-ctx.Done()
		return "stopped by signal", nil
	})
	return set
}

// TestMain makes the test binary a child program, as a daemon that embeds
// functions is one.
func TestMain(m *testing.M) {
	childSet().Main()
	os.Exit(m.Run())
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
		{"wait", ``, 0, `{"result":"stopped by signal"}` + "\n", ""},
		{"gone", ``, 1, "", "gone: no function is registered under this name\n"},
	} {
		dir := t.TempDir()
		in, errs, result := filepath.Join(dir, "in"), filepath.Join(dir, "err"), filepath.Join(dir, "result")
		write(t, in, tc.stdin)
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
			Env: append(os.Environ(), FunctionEnv+"="+tc.name, "DISPATCHD_PROGRESS_FD=3"), Files: files,
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
