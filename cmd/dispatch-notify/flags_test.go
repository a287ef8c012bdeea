package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

func TestParse(t *testing.T) {
	type want struct {
		name, arguments, key, socket  string
		wait                          time.Duration
		quiet, printID, json, passing bool
	}
	for line, w := range map[string]want{
		"op":                              {name: "op"},
		`op {"a":1}`:                      {name: "op", arguments: `{"a":1}`},
		"op -":                            {name: "op", arguments: `"from stdin"`},
		"--wait op":                       {name: "op", wait: forEver},
		"op --wait":                       {name: "op", wait: forEver},
		"op --wait 1":                     {name: "op", arguments: "1", wait: forEver},
		"op --wait=1m30s":                 {name: "op", wait: 90 * time.Second},
		"op -wait=30s 1":                  {name: "op", arguments: "1", wait: 30 * time.Second},
		"op --wait=false":                 {name: "op"},
		"--key k op 1":                    {name: "op", arguments: "1", key: "k"},
		"op 1 --key=k":                    {name: "op", arguments: "1", key: "k"},
		"-q op":                           {name: "op", quiet: true},
		"op --quiet":                      {name: "op", quiet: true},
		"op --print-id":                   {name: "op", printID: true},
		"op --json":                       {name: "op", json: true},
		"op --wait --exit-status":         {name: "op", wait: forEver, passing: true},
		"--socket /s op":                  {name: "op", socket: "/s"},
		"op -- -5":                        {name: "op", arguments: "-5"},
		"-- op -5":                        {name: "op", arguments: "-5"},
		"--key k -- op 1":                 {name: "op", arguments: "1", key: "k"},
		"-- op":                           {name: "op"},
		"-- --json":                       {name: "--json"},
		"op -q --print-id --json --key=x": {name: "op", quiet: true, printID: true, json: true, key: "x"},
	} {
		t.Setenv(ipc.SocketEnv, "/env.sock")
		if w.socket == "" {
			w.socket = "/env.sock"
		}
		c := &command{in: strings.NewReader(`"from stdin"`)}
		if err := c.parse(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		got := want{c.request.Name, string(c.request.Arguments), c.request.Key, c.socket, c.wait, c.quiet, c.printID, c.json, c.exitStatus}
		if got != w {
			t.Errorf("%s: %+v, want %+v", line, got, w)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for line, kind := range map[string]ipc.Kind{
		"":                     ipc.KindUsage,
		"--wait":               ipc.KindUsage,
		"a b c":                ipc.KindUsage,
		"op --wait=0s":         ipc.KindUsage,
		"op --wait=-1s":        ipc.KindUsage,
		"op --wait=soon":       ipc.KindUsage,
		"op --key":             ipc.KindUsage,
		"op --wiat":            ipc.KindUsage,
		"op -x":                ipc.KindUsage,
		"op {":                 ipc.KindArgumentsInvalid,
		"op text":              ipc.KindArgumentsInvalid,
		"op -":                 ipc.KindArgumentsInvalid,
		`op 1,"arguments":2`:   ipc.KindArgumentsInvalid,
		`op {"a":1}}`:          ipc.KindArgumentsInvalid,
		"op --json --wait=bad": ipc.KindUsage,
	} {
		c := &command{in: strings.NewReader("nonsense")}
		err := c.parse(strings.Fields(line))
		p, _ := errors.AsType[*ipc.Error](err)
		if p == nil || p.Kind != kind || len(p.Lines()) < 2 {
			t.Errorf("%s: %v, want %s and what to do", line, err, kind)
		}
	}
	if err := (&command{}).parse([]string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

// An unknown flag gets the nearest one, and a wrong line is JSON where JSON was
// asked for, wherever it stands.
func TestMisuse(t *testing.T) {
	var out, errw bytes.Buffer
	c := &command{in: strings.NewReader(""), out: terminal.NewOutput(&out), err: terminal.NewOutput(&errw)}
	if code := c.run([]string{"--wiat", "op"}); code != ipc.ExitUsage || !strings.Contains(errw.String(), "did you mean --wait?") {
		t.Errorf("exit %d, said %q", code, errw.String())
	}
	errw.Reset()
	c = &command{in: strings.NewReader(""), out: terminal.NewOutput(&out), err: terminal.NewOutput(&errw)}
	if code := c.run([]string{"--wiat", "--json"}); code != ipc.ExitUsage || !strings.HasPrefix(errw.String(), `{"type":"/problems/usage"`) {
		t.Errorf("exit %d, said %q", code, errw.String())
	}
	if out.Len() > 0 {
		t.Errorf("standard output has %q", out.String())
	}
}
