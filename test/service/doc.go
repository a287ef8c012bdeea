//go:build linux

// Package service starts the daemon under every service manager that a service
// file in init is for, and has it die, restart, reload and stop there while a
// job runs: what systemd, OpenRC, runit, s6 and rc.subr do to our processes is
// theirs, and only they can show it. Each runs as the first process of a machine
// of its own (package testbed). What is not installed here is skipped, and says
// so.
//
// The scenes wait for events: a job stands at a pipe until it is let go, and
// what the daemon says in the journal tells how far it is.
package service
