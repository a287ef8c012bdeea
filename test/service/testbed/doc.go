//go:build linux

// Package testbed starts machines of their own for tests: private namespaces
// whose PID 1 is a real init (systemd, or whatever a test asks for), whose root
// is an overlay over this machine's own, and whose cgroup is theirs. Nothing of
// this machine starts in one, and nothing that happens in one is left behind.
// There is no network, no image and no container engine, and one is up in about
// a second. It needs root, cgroup v2 and overlayfs; Missing says what is not
// there.
//
// The test binary is itself the program that prepares a machine before it makes
// way for its init, so TestMain calls Enter first:
//
//	func TestMain(m *testing.M) { testbed.Enter(); os.Exit(m.Run()) }
//
//	box := testbed.Start(t)                     // systemd, booted
//	box.Put(t, "bin/dispatchd", "/usr/sbin/dispatchd")
//	box.Write(t, "/etc/dispatchd/dispatchd.toml", "log_level = \"debug\"\n", 0o644)
//	out := box.Exec(t, "systemctl", "start", "dispatchd")
//
// A machine ends with its test, or with Stop.
package testbed
