package console

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dispatchd/ipc"
)

// Usage is a wrong command line, and what to do about it.
func Usage(next, format string, args ...any) error {
	p := ipc.Errorf(ipc.KindUsage, format, args...)
	p.Suggestion = next
	return p
}

// Strict makes every mistake in the command line args of cmd and its verbs a Usage
// error that names the nearest right word.
func Strict(cmd *cobra.Command, args []string) {
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetFlagErrorFunc(flagError)
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetHelpCommand(help())
	// Completion parses what was typed twice.
	completing := len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
	strictBelow(cmd, !completing)
}

// strictBelow makes the flags of cmd and all its verbs, and the arguments of the
// verbs, as strict as Strict says.
func strictBelow(cmd *cobra.Command, once bool) {
	if once {
		cmd.PersistentFlags().VisitAll(onlyOnce)
		cmd.Flags().VisitAll(onlyOnce)
	}
	for _, sub := range cmd.Commands() {
		if check := sub.Args; check != nil {
			sub.Args = func(c *cobra.Command, args []string) error { return argsError(c, check(c, args)) }
		}
		strictBelow(sub, once)
	}
}

// onceValue is the value of a flag that may be given once: the last of several
// would win in silence. A flag that says yes or no may be given again if it says
// the same.
type onceValue struct {
	pflag.Value
	given bool
}

// errTwice is the error of such a flag that is given again.
var errTwice = errors.New("given more than once")

// onlyOnce makes a flag that is no list refuse to be given again.
func onlyOnce(f *pflag.Flag) {
	_, list := f.Value.(pflag.SliceValue)
	_, done := f.Value.(*onceValue)
	if !list && !done {
		f.Value = &onceValue{Value: f.Value}
		if f.DefValue == "0s" {
			f.DefValue = "" // the help says what none means
		}
	}
}

// Set is pflag.Value's.
func (v *onceValue) Set(text string) error {
	before := v.String()
	if err := v.Value.Set(text); err != nil {
		return err
	}
	if v.given && (v.Type() != "bool" || v.String() != before) {
		return errTwice
	}
	v.given = true
	return nil
}

// help is cobra's command of that name, and an error for a verb that does not
// exist.
func help() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Say what a command does", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			var verbs []string
			for _, sub := range cmd.Root().Commands() {
				if !sub.Hidden {
					verbs = append(verbs, sub.Name()+"\t"+sub.Short)
				}
			}
			return verbs, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Root().Help()
			}
			sub, _, err := cmd.Root().Find(args)
			if err != nil || sub == cmd.Root() {
				return UnknownVerb(cmd.Root(), args[0])
			}
			return sub.Help()
		},
	}
}

// Count is a number with its noun: no jobs, 1 job, 2 jobs.
func Count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// argsError makes a wrong number of arguments a Usage error.
func argsError(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	if _, typed := errors.AsType[*ipc.Error](err); typed {
		return err
	}
	return Usage("usage: "+cmd.UseLine(), "%s: %v", cmd.Name(), err)
}

// flagError makes a mistake in a flag a Usage error.
func flagError(cmd *cobra.Command, err error) error {
	next := "see: " + cmd.CommandPath() + " --help"
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := ipc.Nearest(unknown.GetSpecifiedName(), known); near != "" {
			next = "did you mean --" + near + "?"
		}
	}
	if twice, ok := errors.AsType[*pflag.InvalidValueError](err); ok && errors.Is(err, errTwice) {
		err = fmt.Errorf("--%s is given more than once", twice.GetFlag().Name)
	}
	if !cmd.HasParent() {
		return Usage(next, "%v", err)
	}
	return Usage(next, "%s: %v", cmd.Name(), err)
}

// UnknownVerb is the error of a command line whose verb does not exist.
func UnknownVerb(cmd *cobra.Command, verb string) error {
	var known []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			known = append(known, sub.Name())
		}
	}
	next := "see: " + cmd.CommandPath() + " --help"
	if near := ipc.Nearest(verb, known); near != "" {
		next = fmt.Sprintf("did you mean %s %s?", cmd.CommandPath(), near)
	}
	if cmd.Name() == "dispatchctl" && slices.Contains(laterVerbs(), verb) {
		p := ipc.Errorf(ipc.KindNotSupported, "dispatchctl %s is not supported yet", verb)
		p.Suggestion = "a later version has it; see: dispatchctl --help"
		if other := elsewhere(verb); other != "" {
			p.Suggestion = "a later version has it; until then: dispatchctl " + other
		}
		return p
	}
	if other := elsewhere(verb); other != "" && slices.Contains(known, strings.Fields(other)[0]) {
		next = fmt.Sprintf("that is: %s %s", cmd.CommandPath(), other)
	}
	return Usage(next, "no command is named %q", verb)
}

// laterVerbs are the verbs of dispatchctl that the contract names for a later version.
func laterVerbs() []string {
	return []string{"events", "metrics", "plan", "applied", "alerts", "ack", "whoami", "top", "web", "new", "edit", "test", "cat", "confirm", "rollback"}
}

// elsewhere is the verb, with its flags, for a word that other programs have for it.
func elsewhere(word string) string {
	return map[string]string{
		"ps": "jobs --state running,queued", "history": "jobs", "top": "status", "info": "status", "ping": "status",
		"tail": "log -f ID", "follow": "log -f ID", "output": "log ID", "kill": "cancel ID", "stop": "cancel ID", "abort": "cancel ID",
		"start": "run NAME", "exec": "run NAME", "trigger": "notify NAME", "restart": "retry ID", "rerun": "retry ID",
		"ls": "list", "inspect": "show NAME", "cat": "show NAME", "get": "show NAME", "timers": "schedule", "next": "schedule",
		"validate": "check", "verify": "check", "test": "check", "enable": "resume NAME", "disable": "pause NAME", "hold": "pause NAME",
		"metrics": "status --json", "events": "jobs --json", "alerts": "doctor",
	}[word]
}

// OneOf refuses a word that is not among those allowed.
func OneOf(flag, word string, allowed []string) error {
	if slices.Contains(allowed, word) {
		return nil
	}
	next := "use one of " + strings.Join(allowed, ", ")
	if near := ipc.Nearest(word, allowed); near != "" {
		next = "did you mean " + near + "? It may be " + strings.Join(allowed, ", ")
	}
	return Usage(next, "--%s: %q is not possible", flag, word)
}
