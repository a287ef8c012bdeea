package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/ipc/console"
)

// long is the help of the command as a whole.
const long = `dispatchctl asks dispatchd for runs of its dispatchers, and shows what happened.

Data goes to standard output, talk and errors to standard error. With --json
each answer is one object, each list one object a line, and an error is an
object too. Exit codes: 0 ok, 1 the job failed, 2 wrong command line, 65 bad
arguments, 66 no such dispatcher or job, 69 no daemon, 70 internal, 75 queue
full or draining, 76 version mismatch, 77 not permitted, 78 configuration,
124 timed out, 125 canceled, expired or interrupted, 130 Ctrl-C.`

// root is the command with its verbs.
func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dispatchctl",
		Short:   "Asks dispatchd for runs, and shows what happened",
		Long:    long,
		Version: console.Version(),
		Args:    cobra.ArbitraryArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(deeds(), cmd.Name()) {
				if err := console.Closed(a.out); err != nil {
					return err
				}
			}
			a.prompt = slices.Contains([]string{"status", "doctor", "version"}, cmd.Name())
			if a.timeout < 0 {
				return console.Usage("use a duration such as 10s", "--timeout: %s is not possible", a.timeout)
			}
			return console.OneOf("color", a.color, console.ColorModes())
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return console.UnknownVerb(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	f := cmd.PersistentFlags()
	f.StringVar(&a.socket, "socket", "", "the daemon's socket `PATH` (default $DISPATCHD_SOCKET, then the platform's)")
	f.BoolVar(&a.json, "json", a.json, "print JSON")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no talk, errors only")
	f.StringVar(&a.color, "color", "auto", "colour states: `WHEN` is auto, always or never")
	f.DurationVar(&a.timeout, "timeout", 0, "how long the daemon may take to answer: `DUR` (default 3s for status, doctor and version, else for ever)")
	f.Lookup("json").DefValue = "false"
	cmd.AddCommand(a.verbs()...)
	console.Strict(cmd, a.line)
	_ = cmd.RegisterFlagCompletionFunc("color", words(console.ColorModes()...))
	return cmd
}

// deeds are the verbs that do something besides printing: they do it also where
// nobody reads what they say.
func deeds() []string {
	return []string{
		"notify", "run", "notifydispatcher", "cancel", "retry", "wait", "pause", "resume", "drain", "undrain", "reload", "upgrade",
		"lock", "refresh", "refreshcache", "pfsense",
	}
}

// verbs are all commands.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.notifyVerb(), a.runVerb(false), a.runVerb(true),
		a.statusVerb(), a.listVerb(), a.showVerb(), a.jobsVerb(), a.logVerb(), a.waitVerb(),
		a.cancelVerb(), a.retryVerb(), a.whyVerb(),
		a.pauseVerb(true), a.pauseVerb(false), a.drainVerb(), a.undrainVerb(), a.reloadVerb(), a.upgradeVerb(),
		a.lockVerb(), a.locksVerb(), a.scheduleVerb(), a.cacheVerb(), a.cacheRefreshVerb(true),
		a.checkVerb(), a.importVerb(), a.doctorVerb(), a.openapiVerb(), a.completionVerb(), a.versionVerb(),
	}
}

// promptly is how long the daemon may take to answer those who ask how it is.
const promptly = 3 * time.Second

// api is the client, made at its first use: completion runs without the hooks
// of a verb.
func (a *app) api() *client.Client {
	if a.client == nil {
		a.client = &client.Client{Socket: ipc.FindSocket(a.socket), Timeout: a.timeout}
		if a.client.Timeout == 0 && a.prompt {
			a.client.Timeout = promptly
		} else {
			a.client.Waiting = func(why string) { a.talk("waiting for the daemon: %s", why) }
		}
	}
	return a.client
}
