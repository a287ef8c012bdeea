//go:build linux && service

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"dispatchd/test/service/testbed"
	"dispatchd/test/sources"
)

// bin is where the programs are built.
var bin string

func TestMain(m *testing.M) {
	testbed.Enter()
	os.Exit(run(m))
}

// run builds the programs, where they can be run.
func run(m *testing.M) int {
	if testbed.Missing() != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "service-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	for _, pkg := range []string{"cmd/dispatchd", "cmd/dispatchctl", "cmd/dispatch-notify"} {
		if out, err := sources.Build("dispatchd/"+pkg, filepath.Join(dir, filepath.Base(pkg))); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}
