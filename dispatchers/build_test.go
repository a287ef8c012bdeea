package dispatchers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"dispatchd/dispatchers/mode"
)

// messages lists the faults without their places.
func messages(faults []Fault) []string {
	var list []string
	for _, f := range faults {
		list = append(list, f.Key+": "+f.Message)
	}
	return list
}

// Keys that contradict each other, or mean nothing alone, may stand in different
// layers: the fault is where the last layer sets one of them.
func TestContradictionsOverLayers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		layers []string
		want   []string
	}{
		{"debounce below, its cap above", []string{"debounce = 9", "debounce_max = 3"}, []string{"debounce_max: is shorter than debounce, which is 9s"}},
		{"the cap below, debounce above", []string{"debounce_max = 3", "debounce = 1"}, nil},
		{"a cap alone", []string{"", "debounce_max = 3"}, []string{"debounce_max: means nothing without debounce"}},
		{"debounce taken back", []string{"debounce = 1\ndebounce_max = 3", "debounce = 0"}, nil},
		{"coalesce_key alone", []string{"coalesce_key = ['a']"}, []string{"coalesce_key: means nothing without coalesce or debounce"}},
		{"coalesce_key by debounce", []string{"coalesce_key = ['a']", "debounce = 1"}, nil},
		{"coalesce refused below", []string{"coalesce = false", "debounce = 1"}, []string{"coalesce: debounce implies coalesce, false contradicts it"}},
		{"a cache that does not coalesce", []string{"[cache]", "coalesce = false"}, []string{"coalesce: one refresh of a cache serves all, false contradicts it"}},
		{"a cache of two runs", []string{"concurrency = 2", "[cache]"}, []string{"concurrency: a cache is refreshed by one run at a time"}},
		{"jitter without a schedule", []string{"jitter = 1"}, []string{"jitter: means nothing without schedule"}},
		{"jitter, and a schedule above", []string{"jitter = 1", "schedule = 'daily'"}, nil},
		{"jitter, and a schedule that is bad", []string{"jitter = 1", "schedule = 'never'"}, []string{`schedule: schedule "never": `}},
		{"a lock both ways", []string{"locks.exclusive = ['a']", "locks.shared = ['b', 'a']"}, []string{`locks.shared[1]: "a" is exclusive too`}},
		{"a pause longer than the longest", []string{"retry.max_backoff = 1", "retry.backoff = 2"}, []string{"retry.max_backoff: is shorter than backoff, which is 2s"}},
		{"a bad pause is reported once", []string{"retry.max_backoff = 'x'"}, []string{`retry.max_backoff: "x" is not a duration`}},
		{"two operations in two layers", []string{"", "command = ['a']"}, []string{"script: stands beside command, want exactly one"}},
	} {
		tc.layers[0] = "script = 'x'\n" + tc.layers[0]
		_, faults := merged(tc.layers...)
		got := messages(faults)
		if !slices.EqualFunc(got, tc.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// The defaults that depend on other keys.
func TestDependentDefaults(t *testing.T) {
	type result struct {
		QueueTimeout, DebounceMax, MaxBackoff time.Duration
		Coalesce                              bool
		Overlap                               mode.Overlap
	}
	for text, want := range map[string]result{
		"":                                 {5 * time.Minute, 0, time.Minute, false, mode.OverlapQueue},
		"timeout = 7":                      {7 * time.Second, 0, time.Minute, false, mode.OverlapQueue},
		"timeout = 0":                      {0, 0, time.Minute, false, mode.OverlapQueue},
		"timeout = 7\nqueue_timeout = 0":   {0, 0, time.Minute, false, mode.OverlapQueue},
		"queue_timeout = '5m'":             {5 * time.Minute, 0, time.Minute, false, mode.OverlapQueue},
		"debounce = 3":                     {5 * time.Minute, 30 * time.Second, time.Minute, true, mode.OverlapQueue},
		"debounce = 3\ndebounce_max = 3":   {5 * time.Minute, 3 * time.Second, time.Minute, true, mode.OverlapQueue},
		"debounce = '876000h'":             {5 * time.Minute, maxDuration, time.Minute, true, mode.OverlapQueue},
		"debounce = '87601h'":              {5 * time.Minute, maxDuration, time.Minute, true, mode.OverlapQueue},
		"retry.backoff = '1h'":             {5 * time.Minute, 0, time.Hour, false, mode.OverlapQueue},
		"[cache]":                          {5 * time.Minute, 0, time.Minute, true, mode.OverlapSkip},
		"schedule='daily'\n[cache]":        {5 * time.Minute, 0, time.Minute, true, mode.OverlapSkip},
		"schedule='daily'\noverlap='skip'": {5 * time.Minute, 0, time.Minute, false, mode.OverlapSkip},
		"schedule='daily'\noverlap='queue'\n[cache]": {5 * time.Minute, 0, time.Minute, true, mode.OverlapQueue},
	} {
		s, faults := merged("script = 'x'\n" + text)
		if s == nil {
			t.Errorf("%q: %v", text, faults)
			continue
		}
		got := result{s.QueueTimeout, s.DebounceMax, s.Retry.MaxBackoff, s.Coalesce, s.Overlap}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// An option of a Go function sets what a file may set anew.
func TestOptionsAreDefaults(t *testing.T) {
	b := &builder{decoder: newDecoder(), keys: fileKeys(), spec: defaults("a"), function: true}
	b.spec.QueueTimeout, b.spec.Overlap, b.spec.Debounce = time.Hour, mode.OverlapSkip, time.Second
	b.layer(&source{path: "a.toml", data: []byte("timeout = 1")})
	if faults := b.finish(); len(faults) > 0 {
		t.Fatal(faults)
	}
	if s := b.spec; s.QueueTimeout != time.Hour || s.Overlap != mode.OverlapSkip || s.DebounceMax != 10*time.Second || !s.Coalesce || s.Timeout != time.Second {
		t.Errorf("%+v", s)
	}
}

// The daemon is asked once whether it can change to a job's user, and only
// where a file names one that is good.
func TestMayRunAs(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"user = 'a'":                   "a/",
		"group = 'b'":                  "/b",
		"user = 'a'\ngroup = 'b'":      "a/b",
		"user = '-a'\ngroup = 'b'":     "",
		"user = 'a'\nmax_queue = true": "a/",
	} {
		var asked []string
		b := &builder{decoder: newDecoder(), keys: fileKeys(), spec: defaults("a"), mayRunAs: func(user, group string) string {
			asked = append(asked, user+"/"+group)
			return "the daemon is not root"
		}}
		b.layer(&source{path: "a.toml", data: []byte("script = 'x'\n" + text)})
		faults := b.finish()
		if strings.Join(asked, " ") != want {
			t.Errorf("%q: asked %q, want %q", text, asked, want)
		}
		refused := slices.ContainsFunc(faults, func(f Fault) bool { return f.Message == "the daemon is not root" && f.Suggestion != "" })
		if refused != (want != "") {
			t.Errorf("%q: %v", text, faults)
		}
	}
}

// Where a file could not be read to its end, a missing key proves nothing.
func TestBrokenFileHidesNothing(t *testing.T) {
	for text, want := range map[string][]string{
		"timeout = 1":            {"command: is missing"},
		"timeout = 1\n[":         {": TOML: expected key but reached end of input"},
		"timeout = 'x'\nuser = ": {`timeout: "x" is not a duration`, ": TOML: expected value, not end of input"},
	} {
		_, faults := merged(text)
		if !slices.EqualFunc(messages(faults), want, strings.HasPrefix) {
			t.Errorf("%q: %q, want %q", text, messages(faults), want)
		}
	}
}

// drawn are keys with two good values each that need no other key.
func drawn() map[string][2]string {
	return map[string][2]string{
		"description": {`"a"`, `""`}, "timeout": {`1`, `"2m"`}, "queue_timeout": {`3`, `0`}, "max_queue": {`4`, `5`}, "concurrency": {`6`, `7`},
		"max_output": {`8`, `"9 KiB"`}, "success_exit_codes": {`[0, 1]`, `[2]`}, "kill_grace": {`1`, `2`}, "kill_mode": {`"tree"`, `"none"`},
		"leftovers": {`"kill"`, `"leave"`}, "survive_restart": {`false`, `true`}, "on_interrupt": {`"rerun"`, `"fail"`}, "durability": {`"memory"`, `"disk"`},
		"umask": {`"0077"`, `0`}, "working_directory": {`"/a"`, `"/b"`}, "environment.A": {`"1"`, `"2"`}, "environment.B": {`"3"`, `""`},
		"locks.exclusive": {`["a"]`, `[]`}, "locks.shared": {`["c"]`, `["d"]`}, "retry.attempts": {`1`, `2`}, "retry.exit_codes": {`[3]`, `[4, 5]`},
		"run_on_start": {`true`, `false`}, "required_packages": {`["p"]`, `[]`},
	}
}

// However keys are spread over layers, and in whatever order a layer has them,
// the last value of each key is in force: the same as one file with those values.
func TestMergeOfAnyLayers(t *testing.T) {
	all := drawn()
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		last := map[string]string{}
		layers := []string{"script = 'x'\n"}
		for range rapid.IntRange(1, 4).Draw(t, "layers") {
			var text strings.Builder
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "keys") {
				value := all[name][rapid.IntRange(0, 1).Draw(t, "value")]
				text.WriteString(name + " = " + value + "\n")
				last[name] = value
			}
			layers = append(layers, text.String())
		}
		var one strings.Builder
		one.WriteString("script = 'x'\n")
		for _, name := range names {
			if value, ok := last[name]; ok {
				one.WriteString(name + " = " + value + "\n")
			}
		}
		got, faults := merged(layers...)
		if got == nil {
			t.Fatalf("%v\n%q", faults, layers)
		}
		want, faults := merged(one.String())
		if want == nil {
			t.Fatalf("%v\n%s", faults, one.String())
		}
		if diff := cmp.Diff(want.Definition(), got.Definition()); diff != "" {
			t.Fatalf("%q (-one file +layers):\n%s", layers, diff)
		}
	})
}
