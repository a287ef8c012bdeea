// Command dispatchd is the daemon: it runs the slow operations of an appliance
// in the background, safely and one at a time. Without a verb it serves in the
// foreground until SIGTERM; check, run and demo work without a daemon.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"dispatchd/daemon"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/ipc/terminal"
)

func main() {
	// Each job's supervisor begins here: it needs nothing of what follows.
	if len(os.Args) > 1 && os.Args[1] == shimVerb {
		os.Exit(daemon.RunShim())
	}
	os.Exit(Main(os.Args[1:]))
}

// version is this program's version.
func version() string { return console.Version() }

// flags are those of all verbs.
type flags struct {
	root    string
	quiet   bool
	verbose bool
	check   bool
	json    bool
	color   string
	readyFD int

	background bool
	args       []string // the command line
}

// Main runs the command line and returns the exit code. Tests call it.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signals(syscall.SIGPIPE) // caught, it kills no process, and a write to a broken pipe is an error
	// Errors of parsing are JSON with --json, too, so this looks for it before.
	f := &flags{json: slices.Contains(args, "--json"), args: args}
	out, errw := terminal.NewOutput(os.Stdout), terminal.NewOutput(os.Stderr)
	cmd := rootCommand(f, args)
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errw)
	code := console.Report(errw, "dispatchd", f.json, console.Lost(out, cmd.ExecuteContext(ctx)))
	return console.Finish(out, errw, "dispatchd", f.json, code, "")
}

// rootCommand is the daemon itself with its verbs below.
func rootCommand(f *flags, args []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dispatchd",
		Short: "Runs an appliance's slow operations in the background, one at a time",
		Long: `dispatchd serves the dispatchers defined in dispatchers.d until it is told to stop.
It stays in the foreground; a service manager starts it.`,
		Args:    cobra.ArbitraryArgs,
		Version: version(),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if name := cmd.Name(); name == "check" || name == "schema" {
				if err := console.Closed(terminal.NewOutput(os.Stdout)); err != nil {
					return err
				}
			}
			return console.OneOf("color", f.color, console.ColorModes())
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return console.UnknownVerb(cmd, args[0])
			}
			return run(cmd, f)
		},
	}
	p := cmd.PersistentFlags()
	p.StringVar(&f.root, "root", "", "keep everything below `DIR`: a private instance that needs no root")
	p.BoolVarP(&f.quiet, "quiet", "q", false, "log, or say, warnings and errors only")
	p.BoolVar(&f.json, "json", f.json, "say what goes wrong as JSON")
	p.Lookup("json").DefValue = "false"
	p.StringVar(&f.color, "color", "auto", "`WHEN` to colour: auto, always or never")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log more")
	cmd.Flags().IntVar(&f.readyFD, readyFlag, 0, "write a newline to descriptor `N`, and close it, when the socket answers (s6, dinit)")
	cmd.Flags().BoolVar(&f.background, backgroundFlag, false, "return when the socket answers; the daemon goes on as a process of its own")
	check := strings.TrimPrefix(daemon.CheckFlag, "--")
	cmd.Flags().BoolVar(&f.check, check, false, "say whether the daemon could start, and its version")
	_ = cmd.Flags().MarkHidden(check)
	cmd.AddCommand(checkCommand(f), runCommand(f), schemaCommand(), demoCommand())
	console.Strict(cmd, args)
	return cmd
}

// run starts the daemon, or with the hidden flag says whether it could start. It
// prints all faults of the settings at once.
func run(cmd *cobra.Command, f *flags) error {
	cfg := daemon.Config{Paths: paths(f.root), Version: version()}
	if f.check {
		_, _ = fmt.Fprintln(cmd.OutOrStdout(), daemon.CheckText(cfg.Version))
		return daemon.Check(cfg)
	}
	settings, faults := dispatchers.LoadSettings(cfg.Paths.Config)
	if len(faults) > 0 {
		if err := printFaults(cmd.ErrOrStderr(), f.json, "", faults); err != nil {
			return err
		}
		return console.Code(ipc.ExitConfiguration)
	}
	if f.background {
		return background(f.args, cfg.Paths.Socket(), f.quiet)
	}
	cfg.Log = newLogger(os.Stderr, settings, f)
	if f.readyFD != 0 {
		ready, err := notifyReady(f.readyFD)
		if err != nil {
			return err
		}
		cfg.Ready = ready
	}
	return serve(cmd.Context(), cfg)
}

// readyFlag names the descriptor of a service manager that waits for readiness.
const readyFlag = "ready-fd"

// notifyReady gives the function that writes the newline of readiness to a
// descriptor and closes it: the protocol of s6 and dinit.
func notifyReady(fd int) (func(), error) {
	if fd < 1 {
		return nil, console.Usage("name a descriptor that is open", "--%s %d: no descriptor", readyFlag, fd)
	}
	f := os.NewFile(uintptr(fd), readyFlag)
	if _, err := f.Stat(); err != nil {
		return nil, console.Usage("name a descriptor that is open", "--%s %d: %v", readyFlag, fd, err)
	}
	return func() {
		_, _ = f.WriteString("\n") // a manager that has closed its end waits no more
		_ = f.Close()
	}, nil
}

// withoutReady takes --ready-fd out of a command line. An upgraded program does
// not have the descriptor any more.
func withoutReady(args []string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--"+readyFlag:
			i++
		case !strings.HasPrefix(args[i], "--"+readyFlag+"="):
			kept = append(kept, args[i])
		}
	}
	return kept
}

// serve runs the daemon. At SIGHUP it reads its definitions anew, at SIGUSR2 it
// executes the program that is installed now.
func serve(ctx context.Context, cfg daemon.Config) error {
	argv, err := supervisor()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ready := cfg.Ready
	cfg.Ready = func() {
		oneProcessor()
		if ready != nil {
			ready()
		}
	}
	cfg.ReloadOn, cfg.UpgradeOn = signals(syscall.SIGHUP), signals(syscall.SIGUSR2)
	cfg.Shim, cfg.Upgrade = argv, append([]string{self}, withoutReady(os.Args[1:])...)
	return daemon.Run(ctx, cfg)
}

// signals gives a channel of one kind of signal. Its buffer of one merges a signal
// with one that waits: both ask for the same.
func signals(s os.Signal) <-chan os.Signal {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, s)
	return ch
}

// oneProcessor runs the daemon's own code on one processor at a time, unless
// $GOMAXPROCS says otherwise. Once it has started the daemon waits nearly always;
// a job costs it mostly wake-ups between goroutines, and those cost most across
// processors. Jobs are processes of their own and use all processors, and so does
// the start, which decodes the journal.
func oneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// paths gives the places of this instance.
func paths(root string) ipc.Paths {
	if root != "" {
		return ipc.RootPaths(absolute(root))
	}
	return ipc.DefaultPaths()
}
