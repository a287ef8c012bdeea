package dispatchers

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"dispatchd/ipc"
)

func TestValidateArguments(t *testing.T) {
	s := &Spec{Name: "x"}
	for _, tc := range []struct{ raw, want, fault string }{
		{`{ "a" : [1, 2.50, "ü"] }`, `{"a":[1,2.50,"ü"]}`, ""},
		{"\n null \t", `null`, ""},
		{`12345678901234567890123`, `12345678901234567890123`, ""},
		{`{"a":1,"a":2}`, "", `"a" twice`},
		{`{"a":1,"\u0061":2}`, "", `"a" twice`},
		{`{"b":[{"a":{"c":1,"c":1}}]}`, "", `"c" twice in "$.b[0].a"`},
		{`{"a":1,"B":2}`, `{"a":1,"B":2}`, ""},
		{`"\ud800"`, "", `\ud800 is half of a surrogate pair`},
		{`{"\udc00x":1}`, "", `\udc00 is half`},
		{`"\ud800\ud800\udc00"`, "", `\ud800 is half`},
		{`"\uD83D\uDE00\ud83d"`, "", `\ud83d is half`},
		{`"\ud800\n"`, "", `\ud800 is half`},
		{`"\uD83D\uDE00\\ud800 \ufffd \u0041"`, `"\uD83D\uDE00\\ud800 \ufffd \u0041"`, ""},
		{`{"a":1} x`, "", "after top-level value"},
		{`{"a":1}{}`, "", "after top-level value"},
		{`{"a":}`, "", "invalid character"},
		{`[1,]`, "", "invalid character"},
		{`{"a":1`, "", "unexpected end"},
		{"\"\xff\"", "", "UTF-8"},
		{"  ", "", "empty"},
		{"", "", "empty"},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 100) + strings.Repeat("]", 100), ""},
		{strings.Repeat("[", 101) + strings.Repeat("]", 101), "", "deeper than 100"},
		{strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101), "", "deeper than 100"},
		{strings.Repeat("[", 100_000), "", "exceeded max depth"},
	} {
		got, err := s.ValidateArguments([]byte(tc.raw))
		if tc.fault == "" {
			if err != nil || string(got) != tc.want {
				t.Errorf("%.40s: got %.40s, %v", tc.raw, got, err)
			}
			continue
		}
		var e *ipc.Error
		if !errors.As(err, &e) || e.Kind != ipc.KindArgumentsInvalid || e.Dispatcher != "x" || !strings.Contains(e.Detail, tc.fault) {
			t.Errorf("%.40s: error %v, want %q", tc.raw, err, tc.fault)
		}
	}
}

func TestArgKey(t *testing.T) {
	all := &Spec{}
	some := &Spec{CoalesceKey: []string{"id", "zone"}}
	for _, tc := range []struct {
		spec *Spec
		a, b string
		same bool
	}{
		{all, `{"a":1,"b":[1,{"x":"A"}]}`, ` { "b":[1,{"x":"\u0041"}],"a":1}`, true},
		{all, `{"a":1}`, `{"a":"1"}`, false},
		{all, `[1,2]`, `[2,1]`, false},
		{all, ``, `null`, true},
		{all, `{}`, `null`, false},
		{all, `{"a":9007199254740993}`, `{"a":9007199254740992}`, false},
		{all, `"` + strings.Repeat("x", 500) + `"`, `"` + strings.Repeat("x", 501) + `"`, false},
		{all, `"<"`, `"\u003c"`, true},
		{some, `{"id":1,"n":1}`, `{"id":1,"n":2}`, true},
		{some, `{"id":1}`, `{"id":2}`, false},
		{some, `{"id":null}`, `{}`, false},
		{some, `{"n":1}`, `{"n":2}`, true},
		{some, `[1]`, `[2]`, false},
	} {
		if same := tc.spec.ArgKey(json.RawMessage(tc.a)) == tc.spec.ArgKey(json.RawMessage(tc.b)); same != tc.same {
			t.Errorf("%.40s and %.40s with %v: same = %v", tc.a, tc.b, tc.spec.CoalesceKey, same)
		}
	}
	if key := all.ArgKey(json.RawMessage(`"` + strings.Repeat("x", 5000) + `"`)); len(key) > maxKey {
		t.Errorf("a key of %d bytes would stay in the queue", len(key))
	}
}

func TestLocks(t *testing.T) {
	s := &Spec{Name: "x", Exclusive: []string{"cert:{certificate}", "z"}, Shared: []string{"config", "z", "{n}-{b}"}}
	for _, tc := range []struct{ args, want, fault string }{
		{`{"certificate":"web_1","n":7,"b":true}`, "[{7-true true} {cert:web_1 false} {config true} {z false}]", ""},
		{`{"certificate":"config","n":"config","b":""}`, "", `"b" is empty`},
		{`{"n":7,"b":1}`, "", `needs the argument "certificate"`},
		{`{"certificate":null,"n":7,"b":1}`, "", `needs the argument "certificate"`},
		{``, "", "needs the argument"},
		{`["certificate"]`, "", "needs the argument"},
		{`{"certificate":"../x","n":7,"b":1}`, "", "is no lock name"},
		{`{"certificate":"a\nb","n":7,"b":1}`, "", "is no lock name"},
		{`{"certificate":"` + strings.Repeat("a", 130) + `","n":7,"b":1}`, "", "is no lock name"},
		{`{"certificate":["a"],"n":7,"b":1}`, "", "no string, number or boolean"},
		{`{"certificate":"a","n":-7,"b":1}`, "", "is no lock name"},
	} {
		got, err := s.Locks(json.RawMessage(tc.args))
		if tc.fault == "" {
			if err != nil || fmt.Sprint(got) != tc.want {
				t.Errorf("%s: %v, %v", tc.args, got, err)
			}
			continue
		}
		var e *ipc.Error
		if !errors.As(err, &e) || e.Kind != ipc.KindArgumentsInvalid || !strings.Contains(e.Detail, tc.fault) {
			t.Errorf("%s: error %v, want %q", tc.args, err, tc.fault)
		}
	}
	whole := &Spec{Exclusive: []string{"{name}"}}
	if got, err := whole.Locks(json.RawMessage(`{"name":"dispatcher:other"}`)); err == nil {
		t.Errorf("a named lock passes for a dispatcher's own: %v", got)
	}
	if got, err := (&Spec{}).Locks(nil); err != nil || len(got) != 0 {
		t.Errorf("no locks: %v, %v", got, err)
	}
}

// FuzzArguments: what ValidateArguments lets through is one compact value that
// encoding/json reads back the same; locks from it follow the rule of names.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":[{}]} `, `"\ud800"`, `1e999`, `{"":0}`, `[[[]]]x`} {
		f.Add([]byte(seed))
	}
	s := &Spec{Exclusive: []string{"{a}"}, CoalesceKey: []string{"a"}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := s.ValidateArguments(raw)
		if err != nil {
			if e := (*ipc.Error)(nil); !errors.As(err, &e) || e.Kind != ipc.KindArgumentsInvalid {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		again, err := s.ValidateArguments(got)
		if err != nil || string(again) != string(got) || slices.Contains(got, '\n') {
			t.Errorf("%q -> %q -> %q, %v", raw, got, again, err)
		}
		if s.ArgKey(got) == "" || s.Canonical(got) == "" {
			t.Errorf("no key for %q", got)
		}
		locks, err := s.Locks(got)
		if err == nil && (len(locks) != 1 || !isLock(locks[0].Name)) {
			t.Errorf("lock %+v", locks)
		}
	})
}

// Names that become one environment variable are refused, both named, where scripts
// and commands would find it; a class finds its arguments by their own names.
func TestArgumentNamesFallTogether(t *testing.T) {
	script, class := &Spec{Name: "op", Script: "x"}, &Spec{Name: "op", PHPClass: "X"}
	for args, names := range map[string][2]string{
		`{"a-b":"1","a_b":"2","A_B":"3"}`:               {`"A_B"`, `"a-b"`},
		`{"user":"alice","USER":"root"}`:                {`"USER"`, `"user"`},
		`{"ä":1,"ö":2}`:                                 {`"ä"`, `"ö"`},
		`{"":1,"b":2,"` + "\\u0000" + `c":1,"-C":null}`: {`"-C"`, `"\x00c"`},
	} {
		_, err := script.ValidateArguments([]byte(args))
		p, ok := errors.AsType[*ipc.Error](err)
		if !ok || p.Kind != ipc.KindArgumentsInvalid || p.Kind.Status() != 422 || p.Dispatcher != "op" {
			t.Errorf("%s: %v", args, err)
			continue
		}
		for _, name := range names {
			if !strings.Contains(p.Detail, name) {
				t.Errorf("%s: %s does not name %s", args, p.Detail, name)
			}
		}
		if _, err := class.ValidateArguments([]byte(args)); err != nil {
			t.Errorf("%s for a class: %v", args, err)
		}
	}
	for _, args := range []string{`{"a":1,"b":2}`, `{"a-b":[1],"a_b":2,"A-B":{}}`, `{"ä":1}`, `[1,2]`, `"a,b"`, `{}`} {
		if _, err := script.ValidateArguments([]byte(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}
