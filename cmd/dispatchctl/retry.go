package main

import "github.com/spf13/cobra"

// retryVerb asks for a new job like an ended one.
func (a *app) retryVerb() *cobra.Command {
	r := &request{}
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Ask for a new job like an ended one",
		Long: "retry asks for a new job with the dispatcher and the arguments of one that has ended.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wantID("retry", args[0]); err != nil {
				return err
			}
			n, err := a.api().Retry(cmd.Context(), args[0], r.key)
			if err != nil {
				return err
			}
			return a.accepted(n, r.printID)
		},
	}
	r.keyFlag(cmd)
	cmd.Flags().BoolVar(&r.printID, "print-id", false, "print the new job's id only")
	return cmd
}
