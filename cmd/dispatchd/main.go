// Command dispatchd is the daemon: it runs the slow operations of an appliance
// in the background, safely and one at a time. Without a verb it serves in the
// foreground until SIGTERM; check, run and demo work without a daemon.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"dispatchd/daemon"
	"dispatchd/ipc"
)

func main() {
	// A shim is started once a job: it does without everything that follows.
	if len(os.Args) > 1 && os.Args[1] == shimVerb {
		os.Exit(daemon.RunShim())
	}
	os.Exit(Main(os.Args[1:]))
}

// shimVerb makes this program a job's shim. It is no command for people.
const shimVerb = "shim"

// shim is how this program is started as a shim.
func shim() ([]string, error) {
	self, err := os.Executable()
	return []string{self, shimVerb}, err
}

// version is what this program says of itself: the module's version where it
// was built from one, else the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// exit carries an exit code through cobra.
type exit int

// Error makes an exit code an error without words.
func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// Main runs the command line and returns the exit code. Tests call it.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cmd := rootCommand()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return ipc.ExitOK
	}
	if code, ok := errors.AsType[exit](err); ok {
		return int(code)
	}
	if p, ok := errors.AsType[*ipc.Error](err); ok {
		fmt.Fprintln(os.Stderr, "dispatchd: "+p.Detail)
		if p.Suggestion != "" {
			fmt.Fprintln(os.Stderr, "  "+p.Suggestion)
		}
		return p.Kind.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "dispatchd: "+err.Error())
	if _, ok := errors.AsType[usageError](err); ok {
		return ipc.ExitUsage
	}
	return ipc.ExitInternal
}

// usageError is a wrong command line.
type usageError struct{ error }

// rootCommand is the daemon itself with its verbs below.
func rootCommand() *cobra.Command {
	var root string
	var quiet, verbose, check bool
	cmd := &cobra.Command{
		Use:   "dispatchd",
		Short: "Runs an appliance's slow operations in the background, one at a time",
		Long: `dispatchd serves the dispatchers defined in dispatchers.d until it is told to stop.
It stays in the foreground; a service manager starts it.`,
		Args:          usageArgs(cobra.NoArgs),
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := daemon.Config{Paths: paths(root), Log: newLogger(os.Stderr, quiet, verbose), Version: version()}
			if check {
				fmt.Fprintln(cmd.OutOrStdout(), cfg.Version)
				return daemon.Check(cfg)
			}
			return serve(cmd.Context(), cfg)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.PersistentFlags().StringVar(&root, "root", "", "keep everything below `DIR`: a private instance that needs no root")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "log warnings and errors only")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	cmd.Flags().BoolVar(&check, strings.TrimPrefix(daemon.CheckFlag, "--"), false, "say whether the daemon could start, and its version")
	_ = cmd.Flags().MarkHidden(strings.TrimPrefix(daemon.CheckFlag, "--"))
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(checkCommand(&root), runCommand(&root), demoCommand())
	return cmd
}

// serve is the daemon: SIGUSR2 has it become the program that is installed now.
func serve(ctx context.Context, cfg daemon.Config) error {
	argv, err := shim()
	if err != nil {
		return err
	}
	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGUSR2)
	cfg.Shim, cfg.Upgrade, cfg.UpgradeOn = argv, append([]string{argv[0]}, os.Args[1:]...), upgrade
	return daemon.Run(ctx, cfg)
}

// paths is where this instance lives.
func paths(root string) ipc.Paths {
	if root != "" {
		return ipc.RootPaths(absolute(root))
	}
	return ipc.DefaultPaths()
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
}
