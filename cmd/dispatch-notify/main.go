// Command dispatch-notify asks the daemon for one run of a dispatcher. It is
// small and starts fast: the standard library without net/http.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/notify"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// options are the command line.
type options struct {
	req     notify.Request
	quiet   bool
	printID bool
}

// waitFlag is --wait or --wait=DUR.
type waitFlag struct{ d *time.Duration }

func (waitFlag) IsBoolFlag() bool { return true }
func (waitFlag) String() string   { return "" }

// Set is flag.Value's.
func (w waitFlag) Set(s string) error {
	switch s {
	case "true":
		*w.d = -1
		return nil
	case "false":
		*w.d = 0
		return nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = errors.New("not above zero")
	}
	*w.d = d
	return err
}

// parse reads the command line; flags may stand anywhere.
func parse(args []string, stdin io.Reader, stderr io.Writer) (options, error) {
	var o options
	set := flag.NewFlagSet("dispatch-notify", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprintln(stderr, "usage: dispatch-notify [--wait[=DUR]] [--key K] [--quiet] [--print-id] [--socket PATH] NAME [JSON|-]")
	}
	set.Var(waitFlag{&o.req.Wait}, "wait", "wait for the job's end")
	set.StringVar(&o.req.Key, "key", "", "idempotency key")
	set.StringVar(&o.req.Socket, "socket", "", "the daemon's socket")
	set.BoolVar(&o.quiet, "quiet", false, "print nothing")
	set.BoolVar(&o.printID, "print-id", false, "print the job's id only")
	var words []string
	for {
		if err := set.Parse(args); err != nil {
			return o, err
		}
		if set.NArg() == 0 {
			break
		}
		words, args = append(words, set.Arg(0)), set.Args()[1:]
	}
	if len(words) < 1 || len(words) > 2 {
		set.Usage()
		return o, errors.New("one dispatcher, and at most one JSON value")
	}
	o.req.Name, o.req.Socket = words[0], ipc.FindSocket(o.req.Socket)
	if len(words) == 2 {
		o.req.Arguments = []byte(words[1])
		if words[1] == "-" {
			raw, err := io.ReadAll(io.LimitReader(stdin, 1<<20+1))
			if err != nil {
				return o, err
			}
			o.req.Arguments = raw
		}
	}
	return o, nil
}

// run is the whole command.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stdin, stderr)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return ipc.ExitOK
		}
		fmt.Fprintln(stderr, "dispatch-notify: "+err.Error())
		return ipc.ExitUsage
	}
	conn, err := notify.Dial(o.req.Socket)
	if err != nil {
		return unreachable(stderr, o.req.Socket, err)
	}
	defer func() { _ = conn.Close() }()
	if o.req.Wait != 0 {
		onInterrupt(stderr, o.req.Name)
	}
	reply, err := notify.Post(conn, o.req)
	if err != nil {
		fmt.Fprintf(stderr, "dispatch-notify: %v\n  it is not known whether the job was accepted: ask again with the same --key\n", err)
		return ipc.ExitNoDaemon
	}
	if reply.Status >= 400 {
		return refused(stderr, reply)
	}
	return accepted(o, reply, stdout, stderr)
}

// onInterrupt ends a wait at Ctrl-C; the job goes on.
func onInterrupt(stderr io.Writer, name string) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt)
	go func() {
		<-ch
		fmt.Fprintf(stderr, "\ndispatch-notify: not waiting any longer; the job of %s goes on\n", name)
		os.Exit(ipc.ExitInterrupted)
	}()
}

// unreachable says that nobody listens.
func unreachable(stderr io.Writer, socket string, err error) int {
	if errors.Is(err, fs.ErrPermission) {
		fmt.Fprintf(stderr, "dispatch-notify: socket %s: permission denied\n  join the socket's group, or ask as root\n", socket)
		return ipc.ExitForbidden
	}
	fmt.Fprintf(stderr, "dispatch-notify: no daemon answers on %s: %v\n  is dispatchd running? Start it, or name its socket by --socket or $%s\n", socket, err, ipc.SocketEnv)
	return ipc.ExitNoDaemon
}

// refused prints a problem.
func refused(stderr io.Writer, r notify.Reply) int {
	var p ipc.Error
	if json.Unmarshal(r.Body, &p) != nil || p.Kind == "" {
		fmt.Fprintf(stderr, "dispatch-notify: the daemon answered %d\n", r.Status)
		return ipc.ExitInternal
	}
	fmt.Fprintln(stderr, "dispatch-notify: "+p.Detail)
	if p.Suggestion != "" {
		fmt.Fprintln(stderr, "  "+p.Suggestion)
	}
	if r.RetryAfter > 0 {
		fmt.Fprintf(stderr, "  try again in %d s\n", r.RetryAfter)
	}
	return p.Kind.ExitCode()
}

// accepted prints what became of the notify.
func accepted(o options, r notify.Reply, stdout, stderr io.Writer) int {
	var n ipc.Notified
	if err := json.Unmarshal(r.Body, &n); err != nil {
		fmt.Fprintln(stderr, "dispatch-notify: answer: "+err.Error())
		return ipc.ExitInternal
	}
	switch {
	case o.quiet:
	case o.printID:
		fmt.Fprintln(stdout, n.ID)
	case n.State.Final():
		fmt.Fprintf(stdout, "%s %s\n", n.State, n.ID)
	case n.Coalesced:
		fmt.Fprintf(stdout, "joined %s (already queued)\n", n.ID)
	default:
		fmt.Fprintf(stdout, "queued %s (%s)\n", n.ID, place(n.Position))
	}
	if o.req.Wait == 0 {
		return ipc.ExitOK
	}
	if !n.State.Final() {
		fmt.Fprintf(stderr, "dispatch-notify: the wait is over; job %s goes on\n", n.ID)
		return ipc.ExitTimedOut
	}
	if n.Error != nil && !o.quiet {
		fmt.Fprintln(stderr, "dispatch-notify: "+strings.TrimSpace(n.Error.Message))
	}
	return n.State.ExitCode()
}

// place words a position in line.
func place(n int) string {
	suffix := "th"
	switch {
	case n <= 1:
		return "next"
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		suffix = "st"
	case n%10 == 2:
		suffix = "nd"
	case n%10 == 3:
		suffix = "rd"
	}
	return fmt.Sprintf("%d%s in line", n, suffix)
}
