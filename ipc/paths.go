package ipc

import (
	"os"
	"path/filepath"
	"runtime"
)

// SocketEnv names the environment variable that says where the socket is.
const SocketEnv = "DISPATCHD_SOCKET"

// Paths says where one instance of the daemon keeps its files.
type Paths struct {
	Root        string `json:"root,omitempty" doc:"the --root directory"`
	Config      string `json:"config" doc:"dispatchd.toml"`
	Dispatchers string `json:"dispatchers" doc:"the admin's definitions"`
	Packages    string `json:"packages" doc:"the packages' definitions"`
	Run         string `json:"run" doc:"socket and locks; emptied at boot"`
	State       string `json:"state" doc:"journal, history, job logs"`
	Cache       string `json:"cache" doc:"cache files"`
}

// Socket is the path of the control socket.
func (p Paths) Socket() string { return filepath.Join(p.Run, "control.sock") }

// Locks is the directory of the named locks, a file each.
func (p Paths) Locks() string { return filepath.Join(p.Run, "locks") }

// DispatcherLocks is the directory of the dispatchers' own locks.
func (p Paths) DispatcherLocks() string { return filepath.Join(p.Run, "dispatchers") }

// RootPaths puts a whole private instance below dir.
func RootPaths(dir string) Paths {
	j := func(s string) string { return filepath.Join(dir, s) }
	return Paths{
		Root: dir, Config: j("dispatchd.toml"), Dispatchers: j("dispatchers.d"), Packages: j("lib/dispatchers.d"),
		Run: j("run"), State: j("state"), Cache: j("cache"),
	}
}

// SystemPaths are the places of the system's daemon on this platform.
func SystemPaths() Paths {
	if runtime.GOOS == "freebsd" {
		return Paths{
			Config: "/usr/local/etc/dispatchd/dispatchd.toml", Dispatchers: "/usr/local/etc/dispatchd/dispatchers.d",
			Packages: "/usr/local/share/dispatchd/dispatchers.d", Run: "/var/run/dispatchd",
			State: "/var/db/dispatchd", Cache: "/var/cache/dispatchd",
		}
	}
	return Paths{
		Config: "/etc/dispatchd/dispatchd.toml", Dispatchers: "/etc/dispatchd/dispatchers.d",
		Packages: "/usr/lib/dispatchd/dispatchers.d", Run: "/run/dispatchd",
		State: "/var/lib/dispatchd", Cache: "/var/cache/dispatchd",
	}
}

// PHPBridge is where the package puts the program that runs the PHP class of a
// dispatcher.
func PHPBridge() string {
	if runtime.GOOS == "freebsd" {
		return "/usr/local/share/dispatchd/php/bridge.php"
	}
	return "/usr/lib/dispatchd/php/bridge.php"
}

// UserPaths are the XDG directories of an unprivileged user.
func UserPaths() Paths {
	home, _ := os.UserHomeDir()
	xdg := func(env, def string) string {
		if v := os.Getenv(env); filepath.IsAbs(v) {
			return filepath.Join(v, "dispatchd")
		}
		return filepath.Join(home, def, "dispatchd")
	}
	config := xdg("XDG_CONFIG_HOME", ".config")
	state := xdg("XDG_STATE_HOME", ".local/state")
	run := filepath.Join(state, "run")
	if v := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(v) {
		run = filepath.Join(v, "dispatchd")
	}
	return Paths{
		Config: filepath.Join(config, "dispatchd.toml"), Dispatchers: filepath.Join(config, "dispatchers.d"),
		Packages: filepath.Join(xdg("XDG_DATA_HOME", ".local/share"), "dispatchers.d"),
		Run:      run, State: state, Cache: xdg("XDG_CACHE_HOME", ".cache"),
	}
}

// DefaultPaths are the places of a daemon started without --root: the system's
// for root, the XDG directories for others.
func DefaultPaths() Paths {
	if os.Geteuid() == 0 {
		return SystemPaths()
	}
	return UserPaths()
}

// FindSocket is where a client looks: flag, then $DISPATCHD_SOCKET, then the
// system's socket if it is there, then the user's own.
func FindSocket(flag string) string {
	if flag != "" {
		return flag
	}
	if v := os.Getenv(SocketEnv); v != "" {
		return v
	}
	system := SystemPaths().Socket()
	if os.Geteuid() == 0 {
		return system
	}
	if _, err := os.Stat(system); err == nil {
		return system
	}
	return UserPaths().Socket()
}
