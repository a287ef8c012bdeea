package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/ipc/terminal"
)

// shells are the shells that have a completion script.
func shells() []string { return []string{"bash", "zsh", "fish"} }

// The functions of the package bash-completion that cobra's script calls, as far as
// it needs them, for a shell that has not loaded it. Words are what spaces divide.
const (
	bashWords    = `    _get_comp_words_by_ref "$@" cur prev words cword` + "\n"
	bashWordsToo = `    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    case $line in
        *[[:space:]]) words+=("") ;;
    esac
    cword=$((${#words[@]} - 1))
    cur=${words[cword]}
    prev=${words[cword - 1]}
    declare -F _filedir >/dev/null 2>&1 && return
    _filedir()
    {
        local IFS=$'\n' kind=-f
        [[ ${1-} == -d ]] && kind=-d
        COMPREPLY=($(compgen "$kind" -- "$cur"))
        compopt -o filenames 2>/dev/null
    }
`
)

// bashCompletion prints the script of bash.
func (a *app) bashCompletion(root *cobra.Command) error {
	var script strings.Builder
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	_, err := io.WriteString(a.out, strings.Replace(script.String(), bashWords, bashWordsToo, 1))
	return err
}

// completionVerb prints a shell's completion script.
func (a *app) completionVerb() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print the completion script of a shell",
		Long: `completion prints a script that completes verbs, flags, dispatchers and jobs. Try it by
  bash: . <(dispatchctl completion bash)
  zsh:  . <(dispatchctl completion zsh)
  fish: dispatchctl completion fish | source`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: words(shells()...),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return a.bashCompletion(cmd.Root())
			case "zsh":
				return cmd.Root().GenZshCompletion(a.out)
			case "fish":
				return cmd.Root().GenFishCompletion(a.out, true)
			}
			next := "use one of " + strings.Join(shells(), ", ")
			if near := ipc.Nearest(args[0], shells()); near != "" {
				next = "did you mean " + near + "?"
			}
			return console.Usage(next, "completion: no script for shell %q", args[0])
		},
	}
}

// complete is what cobra calls for the next word.
type complete = cobra.CompletionFunc

// patience bounds the wait of completion for the daemon: a person waits with it.
const patience = time.Second

// words completes from a fixed list.
func words(list ...string) complete {
	return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
}

// listOf completes a list with commas between from a fixed list.
func listOf(list ...string) complete {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		before := begun[:strings.LastIndex(begun, ",")+1]
		with := make([]string, len(list))
		for i, word := range list {
			with[i] = before + word
		}
		return with, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first argument only.
func first(cmd *cobra.Command, args []string, list func(context.Context) []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return ask(cmd, list)
}

// ask completes from the daemon. Without an answer it completes nothing, and
// prints no error into the command line.
func ask(cmd *cobra.Command, list func(context.Context) []string) ([]string, cobra.ShellCompDirective) {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, patience)
	defer cancel()
	return list(ctx), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// names completes a dispatcher's name.
func (a *app) names(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return first(cmd, args, a.allNames)
}

// ids completes a job's id.
func (a *app) ids(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return first(cmd, args, a.allIDs)
}

// openIDs completes ids of jobs that have not ended, any number of them.
func (a *app) openIDs(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return ask(cmd, a.allOpen)
}

// idsAndNames completes ids and dispatchers' names.
func (a *app) idsAndNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return first(cmd, args, func(ctx context.Context) []string { return append(a.allNames(ctx), a.allIDs(ctx)...) })
}

// openIDsAndNames completes ids of jobs that have not ended, and names.
func (a *app) openIDsAndNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return first(cmd, args, func(ctx context.Context) []string { return append(a.allNames(ctx), a.allOpen(ctx)...) })
}

// lockNames completes names of locks before the --, then as a shell does. The
// words as they were typed have to say so: cobra parses a -- of its own too.
func (a *app) lockNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if slices.Contains(a.line, "--") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return ask(cmd, func(ctx context.Context) []string {
		locks, _ := a.api().Locks(ctx)
		var list []string
		for _, l := range locks {
			if !strings.HasPrefix(l.Name, "dispatcher:") {
				list = append(list, terminal.Line(l.Name))
			}
		}
		return list
	})
}

// allNames lists the dispatchers with their descriptions.
func (a *app) allNames(ctx context.Context) []string {
	all, _ := a.api().Dispatchers(ctx)
	var list []string
	for _, d := range all {
		list = append(list, terminal.Sprintf("%s\t%s", d.Name, about(d)))
	}
	return list
}

// allIDs lists the last jobs, newest first.
func (a *app) allIDs(ctx context.Context) []string { return a.idList(ctx, ipc.JobFilter{Limit: 50}) }

// allOpen lists jobs that have not ended.
func (a *app) allOpen(ctx context.Context) []string {
	return append(a.idList(ctx, ipc.JobFilter{State: ipc.Running, Limit: 50}), a.idList(ctx, ipc.JobFilter{State: ipc.Queued, Limit: 50})...)
}

// idList lists jobs with dispatcher and state.
func (a *app) idList(ctx context.Context, f ipc.JobFilter) []string {
	jobs, _ := a.api().Jobs(ctx, f)
	var list []string
	for _, j := range jobs {
		list = append(list, terminal.Sprintf("%s\t%s %s %s", j.ID, j.Dispatcher, j.State, ago(j.CreatedAt)))
	}
	return list
}
