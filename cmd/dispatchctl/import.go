package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// importFlags are the flags of import pfsense. Empty means the platform's.
type importFlags struct{ php, bridge, dir, src string }

// importVerb writes definitions from another program's.
func (a *app) importVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Write definitions from the classes of another program", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return console.UnknownVerb(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.importPFSenseVerb())
	return cmd
}

// importPFSenseVerb replaces this process by the import of the PHP bridge: PHP
// reads PHP classes.
func (a *app) importPFSenseVerb() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use: "pfsense", Short: "Write definitions from the dispatchers and caches of the pfSense REST API",
		Long: `import pfsense asks the classes of the pfSense REST API package what they are (timeout,
max_queue, schedule, packages, includes) and writes a definition of each that has none
yet. Files that are there stay as they are. A class that does not load is named, and takes
no other away; one whose constructor cannot run gets no definition. The exit status is 78
then. It runs the code of the classes, which is DIR's with --src: as user nobody where
root asks, with no environment and no output of its own.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			argv, err := f.argv()
			if err != nil {
				return err
			}
			return fmt.Errorf("%s: %w", argv[0], syscall.Exec(argv[0], argv, os.Environ()))
		},
	}
	cmd.Flags().StringVar(&f.php, "php", "php", "the PHP interpreter `P`")
	cmd.Flags().StringVar(&f.bridge, "bridge", ipc.PHPBridge(), "the PHP bridge `B`")
	cmd.Flags().StringVar(&f.dir, "dir", "", "write below `OUT` (default the admin's definitions, but what a package defines is left to it)")
	cmd.Flags().StringVar(&f.src, "src", "", "read the classes of the checkout `DIR` (default what is installed)")
	return cmd
}

// argv is the command that import becomes.
func (f importFlags) argv() ([]string, error) {
	php := lookPath(f.php)
	if php == "" {
		return nil, console.Usage("install php-cli, or name the interpreter by --php", "import: no PHP interpreter %q is found", f.php)
	}
	if _, err := os.Stat(f.bridge); err != nil {
		return nil, console.Usage("name bridge.php by --bridge", "import: PHP bridge: %v", err)
	}
	paths := ipc.DefaultPaths()
	argv := []string{php, "-f", f.bridge, "--", "import"}
	if f.dir == "" {
		argv = append(argv, "--known="+paths.Packages)
		f.dir = paths.Dispatchers
	}
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return nil, err
	}
	argv = append(argv, "--dir="+dir)
	if f.src != "" {
		argv = append(argv, "--src="+f.src)
	}
	return argv, nil
}
