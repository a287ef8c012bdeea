//go:build !linux

package cli

import "errors"

const burdenEnv = "CLI_TEST_BURDEN"

// burden is for TestNothingInherited, which looks at /proc.
func burden([]string) error { return errors.ErrUnsupported }
