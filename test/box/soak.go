//go:build soak

package box

// Soak says that sweeps run whole: go test -tags soak.
const Soak = true
