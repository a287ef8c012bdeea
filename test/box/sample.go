//go:build !soak

package box

// Soak says that sweeps run whole. Without the tag they take a fixed sample.
const Soak = false
