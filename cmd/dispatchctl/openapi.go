package main

import (
	"github.com/spf13/cobra"

	"dispatchd/ipc/terminal"
)

// openapiVerb prints the API's description.
func (a *app) openapiVerb() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the API's OpenAPI 3.1 description", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := a.api().OpenAPI(cmd.Context())
			if err != nil {
				return err
			}
			_, err = a.out.Write(append(terminal.JSON(text), '\n'))
			return err
		},
	}
}
