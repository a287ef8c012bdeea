package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"dispatchd/dispatchers"
	"dispatchd/ipc/console"
)

// schemaCommand prints a JSON Schema for editors.
func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema dispatcher|dispatchd",
		Short: "Print the JSON Schema of a dispatcher's file, or of dispatchd.toml",
		Long: `schema prints a JSON Schema by which an editor completes and checks the keys of a
dispatcher's file, or of dispatchd.toml. Editors that know the taplo language server find
it by a first line such as

  #:schema file:///usr/share/dispatchd/dispatcher.schema.json

A file that dispatchd takes fits its schema. The other way round it need not be so: dispatchd
check says all that is wrong.`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"dispatcher", "dispatchd"},
		RunE: func(cmd *cobra.Command, args []string) error {
			s := map[string]func() dispatchers.Schema{"dispatcher": dispatchers.FileSchema, "dispatchd": dispatchers.SettingsSchema}[args[0]]
			if s == nil {
				return console.Usage("dispatchd schema dispatcher, or dispatchd schema dispatchd", "schema: there is none of %q", args[0])
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(s())
		},
	}
}
