package main

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/notify"
)

// options are the command line.
type options struct {
	request    notify.Request
	socket     string
	wait       time.Duration // 0 = do not, forEver
	quiet      bool
	printID    bool
	json       bool
	exitStatus bool
	timeout    time.Duration // for an answer; below 0 = not given
}

// usage is the help.
const usage = `usage: dispatch-notify [FLAGS] NAME [JSON|-]

Asks for one run of dispatcher NAME, with JSON as its arguments; - reads them
from standard input. The answer comes when the job is safe on disk.

  --wait[=DUR]   wait for the job's end, at most DUR, such as 30s
  --key K        idempotency key: the same key gives the same job
  --exit-status  with --wait: exit with the job's own exit status (128 and
                 the number for a signal, 126 or 127 as shells do)
  --print-id     print the job's id only
  --json         print JSON
  -q, --quiet    print errors only
  --timeout DUR  how long the daemon may take to answer (default 60s for the
                 notify, no end while waiting for the job)
  --socket PATH  the daemon's socket (default $DISPATCHD_SOCKET, then the platform's)
`

// waitFlag is --wait or --wait=DUR.
type waitFlag struct{ d *time.Duration }

// IsBoolFlag lets --wait stand without a value.
func (waitFlag) IsBoolFlag() bool { return true }

// String is flag.Value's.
func (waitFlag) String() string { return "" }

// Set is flag.Value's.
func (w waitFlag) Set(s string) error {
	switch s {
	case "true":
		*w.d = forEver
		return nil
	case "false":
		*w.d = 0
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return errors.New("use a duration above zero, such as 30s or 5m")
	}
	*w.d = d
	return nil
}

// timeoutFlag is --timeout.
type timeoutFlag struct{ d *time.Duration }

// String is flag.Value's.
func (timeoutFlag) String() string { return "" }

// Set is flag.Value's; 0 is no end.
func (t timeoutFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return errors.New("use a duration, such as 10s; 0s is no end")
	}
	*t.d = d
	return nil
}

// onceValue is a flag that may be given once: the last of several would win in
// silence.
type onceValue struct {
	flag.Value
	given string // how
}

// IsBoolFlag is that of the flag.
func (v *onceValue) IsBoolFlag() bool {
	b, ok := v.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Set is flag.Value's. A flag that says yes or no may say it again.
func (v *onceValue) Set(s string) error {
	if err := v.Value.Set(s); err != nil {
		return err
	}
	if v.given != "" && (!v.IsBoolFlag() || "="+s != v.given) {
		return errors.New("it is given more than once")
	}
	v.given = "=" + s
	return nil
}

// parse reads the command line; flags may stand anywhere before a --.
func (c *command) parse(args []string) error {
	c.json = asksForJSON(args)
	set := flag.NewFlagSet("dispatch-notify", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Var(waitFlag{&c.wait}, "wait", "")
	set.StringVar(&c.request.Key, "key", "", "")
	set.StringVar(&c.socket, "socket", "", "")
	set.BoolVar(&c.quiet, "quiet", false, "")
	set.BoolVar(&c.quiet, "q", false, "")
	set.BoolVar(&c.printID, "print-id", false, "")
	set.BoolVar(&c.json, "json", c.json, "")
	set.BoolVar(&c.exitStatus, "exit-status", false, "")
	c.timeout = -1
	set.Var(timeoutFlag{&c.timeout}, "timeout", "")
	set.VisitAll(func(f *flag.Flag) { f.Value = &onceValue{Value: f.Value} })
	words, err := parseWords(set, args)
	if err != nil {
		return err
	}
	if len(words) < 1 || len(words) > 2 {
		return misuse("give one dispatcher, and at most one JSON value")
	}
	c.request.Name, c.socket = words[0], ipc.FindSocket(c.socket)
	if len(words) == 2 {
		c.request.Arguments, err = ipc.ReadArguments(words[1], c.in)
	}
	return err
}

// parseWords parses the flags between the words and gives the words.
func parseWords(set *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, flagError(set, err)
		}
		if set.NArg() == 0 {
			return words, nil
		}
		if read := len(args) - set.NArg(); read > 0 && args[read-1] == "--" {
			return append(words, set.Args()...), nil
		}
		words, args = append(words, set.Arg(0)), set.Args()[1:]
	}
}

// flagError is a mistake in a flag. Package flag says an unknown one's name
// only in its text.
func flagError(set *flag.FlagSet, err error) error {
	_, name, unknown := strings.Cut(err.Error(), "not defined: -")
	if !unknown {
		return misuse(err.Error())
	}
	var known []string
	set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	p := ipc.Errorf(ipc.KindUsage, "there is no flag --%s", strings.TrimPrefix(name, "-"))
	p.Suggestion = "see: dispatch-notify --help"
	if near := ipc.Nearest(name, known); near != "" {
		p.Suggestion = "did you mean --" + near + "?"
	}
	return p
}

// asksForJSON looks for --json before the flags are parsed: the errors of
// parsing are to be JSON too.
func asksForJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "-json")
}

// misuse is a wrong command line.
func misuse(what string) error {
	p := ipc.Errorf(ipc.KindUsage, "%s", what)
	p.Suggestion = "usage: dispatch-notify [--wait[=DUR]] [--key K] [--exit-status] [--print-id] [--json] [-q] [--timeout DUR] [--socket PATH] NAME [JSON|-]"
	return p
}
