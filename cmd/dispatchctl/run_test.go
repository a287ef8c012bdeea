package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The words of run and the command behind them, wherever "--" stands. Cobra takes
// the first "--" away and leaves the others.
func TestSplitInstead(t *testing.T) {
	for _, c := range []struct {
		args           []string
		dash           int
		words, instead []string
	}{
		{[]string{"a", "{}"}, -1, []string{"a", "{}"}, nil},
		{[]string{"a", "cmd", "x"}, 1, []string{"a"}, []string{"cmd", "x"}},
		{[]string{"a", "-", "cmd", "--", "x"}, 2, []string{"a", "-"}, []string{"cmd", "--", "x"}},
		{[]string{"--socket=/x", "-"}, 0, []string{"--socket=/x", "-"}, nil},
		{[]string{"-a", "-", "--", "cmd", "--", "x"}, 0, []string{"-a", "-"}, []string{"cmd", "--", "x"}},
		{[]string{"a", "--"}, 0, []string{"a"}, []string{}},
	} {
		words, instead := splitInstead(c.args, c.dash)
		if diff := cmp.Diff(c.words, words) + cmp.Diff(c.instead, instead); diff != "" {
			t.Errorf("%q at %d: %s", c.args, c.dash, diff)
		}
	}
}
