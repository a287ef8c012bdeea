// Package shim is the door to a job's supervisor, for the program that is nothing
// else: cmd/dispatchd-shim. What it links decides what every job costs, so it links
// neither the daemon nor anything of the network; test/api holds the list.
package shim

import "dispatchd/daemon/internal/shim"

// Main is the whole life of a supervisor, and gives its exit code.
func Main() int { return shim.Main() }
