package dispatchers

import (
	"bytes"
	"context"
	"errors"
	"strings"
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
