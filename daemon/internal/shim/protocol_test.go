package shim

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
)

// What is written by hand is what encoding/json would read and write.
func TestReplyText(t *testing.T) {
	for _, r := range []Reply{
		{},
		{ID: math.MaxUint32, Version: 2},
		{ID: 1, Error: "kill_mode \"none\": a <b> & \u2028, \x01 \\ ü"},
		{Status: &Status{Phase: Ended}},
		{Status: &Status{
			Phase: Running, Child: &proc.Identity{PID: 7, Start: math.MaxUint64, Boot: "a-b"}, Left: math.MaxInt64, Late: true,
			Progress: &ipc.Progress{Percent: new(12.5), Message: "half"},
		}},
		{Status: &Status{Phase: Running, Progress: &ipc.Progress{}}},
		{Status: &Status{Phase: Running, Progress: &ipc.Progress{Message: "only"}}},
		{Status: &Status{Phase: Running, Progress: &ipc.Progress{Percent: new(1e-9)}}},
	} {
		text := appendReply(nil, r)
		var got Reply
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %v", text, err)
		}
		if r.Status != nil && r.Status.Progress != nil && r.Status.Progress.Percent != nil {
			continue // numbers may be written in several ways
		}
		if want, _ := json.Marshal(r); string(text) != string(want)+"\n" {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

// Our own client's requests take the short way.
func TestPlainRequests(t *testing.T) {
	for _, r := range []Request{
		{ID: 1, Verb: Hello, Min: 1, Max: 2},
		{ID: math.MaxUint32, Verb: Stop},
		{ID: 3, Verb: Signal, Signal: 15},
		{ID: 4, Verb: Extend, Extend: 48 * time.Hour},
		{Verb: Query},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := parsePlain(text); !ok || got != r {
			t.Errorf("%s: %+v, %v", text, got, ok)
		}
	}
}

// The short way reads nothing that encoding/json reads otherwise.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		`{"id":1,"verb":"hello","min":1,"max":2}`, `{"verb":"st\u006fp"}`, `{}`, `{"id":01}`, `{"id":-1}`, `{"id":4294967296}`,
		`{"ID":1}`, `{"id":1,}`, `{"id":1,"id":2}`, ` {"id":1}`, `{"extend":1e3}`, `{"x":{"y":[1]}}`, `{"verb":""}`, `{"id"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, ok := parsePlain(text)
		if !ok {
			return
		}
		var want Request
		if err := json.Unmarshal(text, &want); err != nil || got != want {
			t.Errorf("%q: %+v, want %+v, %v", text, got, want, err)
		}
	})
}

// The highest version that both speak is spoken.
func TestAgree(t *testing.T) {
	for _, c := range []struct{ low, high, want int }{{1, 2, 2}, {2, 2, 2}, {2, 3, 2}, {0, 0, 0}, {1, 1, 0}, {3, 4, 0}} {
		got, err := agree(c.low, c.high)
		if got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%d to %d: %d, %v", c.low, c.high, got, err)
		}
	}
}

// fillIn sets every field below a value to something that is not its zero.
func fillIn(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fillIn(field)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fillIn(v.Index(i))
		}
	case reflect.String:
		v.SetString(strings.Repeat("ü\n\x00", 3))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MinInt64)
	case reflect.Uint32:
		v.SetUint(math.MaxUint32)
	}
}

// A record has every field of a launch but the one that is the reader's own. A new
// field of proc.Launch that it lacks is found here.
func TestRecord(t *testing.T) {
	var full proc.Launch
	fillIn(reflect.ValueOf(&full).Elem())
	full.SelfSupervised = false
	for _, l := range []proc.Launch{full, {Argv: []string{"/bin/true"}, Umask: -1}} {
		text := appendRecord(nil, &l, 7)
		got, locks, err := parseRecord(text)
		if l.Env == nil {
			l.Env = []string{}
		}
		if err != nil || locks != 7 || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v, %d, %v", got, locks, err)
		}
		for n := range len(text) { // its writer died over it
			if _, _, err := parseRecord(text[:n]); !errors.Is(err, errNoLaunch) {
				t.Fatalf("%d of %d bytes: %v", n, len(text), err)
			}
		}
	}
}

// A record of version 2 is read, and one of a newer daemon, whose names this program
// does not know, as far as it is known.
func TestOtherRecords(t *testing.T) {
	l := proc.Launch{Argv: []string{"/bin/true"}, Env: []string{}, Terms: proc.Terms{Marked: true}}
	three := string(appendRecord(nil, &l, 2))
	two := strings.Replace(three, recordHead, recordTwo, 1)
	two = two[:strings.LastIndex(two, "\x02\x06marked\x011")] + recordTail
	got, locks, err := parseRecord([]byte(two))
	if want := (proc.Launch{Argv: []string{"/bin/true"}, Env: []string{}}); err != nil || locks != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("version 2: %+v, %d, %v", got, locks, err)
	}
	newer := strings.Replace(three, "\x02\x06marked\x011", "\x04\x05novel\x01x\x06marked\x011", 1)
	if got, _, err := parseRecord([]byte(newer)); err != nil || !got.Marked {
		t.Errorf("a name more: %+v, %v", got, err)
	}
	if _, _, err := parseRecord([]byte(strings.Replace(three, "launch 3", "launch 4", 1))); !errors.Is(err, errRecord) {
		t.Errorf("version 4: %v", err)
	}
}

// A record that is not one is an error, whatever is in it.
func FuzzRecord(f *testing.F) {
	l := proc.Launch{Argv: []string{"/bin/true", "x"}, Env: []string{"A=b"}, Credential: &proc.Credential{Groups: []uint32{1, 2}}}
	f.Add(appendRecord(nil, &l, 2))
	f.Add([]byte(recordHead + "\x00\xff\xff\xff\xff\x0f" + recordTail))
	f.Add([]byte("dispatchd launch 3\n" + recordTail))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, locks, err := parseRecord(text)
		if err != nil {
			return
		}
		again, n, err := parseRecord(appendRecord(nil, &l, locks))
		if err != nil || n != locks || !reflect.DeepEqual(again, l) {
			t.Errorf("%+v became %+v, %v", l, again, err)
		}
	})
}
