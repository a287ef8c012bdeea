//go:build !linux && packages

package packages

import "testing"

// installed and bare need a machine of their own, which only Linux has.
func installed(t *testing.T, _, _ map[string]string) { t.Skip("dpkg is looked at on Linux") }

func bare(t *testing.T, _, _ map[string]string) { t.Skip("dpkg is looked at on Linux") }
