package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unit looks at the settings of the daemon's systemd unit that would kill jobs
// together with the daemon.
func (d *doctor) unit(pid int) {
	if pid <= 0 {
		return
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return
	}
	name := unitOf(string(text))
	if name == "" {
		return
	}
	mode := killMode(name, unitDirs())
	if mode == "process" {
		d.ok("systemd leaves jobs alone when the daemon ends (%s has KillMode=process)", name)
		return
	}
	d.bad("systemctl edit "+name+", and set KillMode=process in [Service]",
		"systemd kills every job when the daemon ends or crashes (%s has KillMode=%s)", name, mode)
}

// unitDirs are where systemd reads units, the strongest first.
func unitDirs() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

// unitOf is the service that a process belongs to by its /proc/PID/cgroup, ""
// where it is in none.
func unitOf(cgroup string) string {
	for line := range strings.Lines(cgroup) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		parts := strings.Split(path, "/")
		for _, part := range slices.Backward(parts) {
			if strings.HasSuffix(part, ".service") {
				return part
			}
		}
	}
	return ""
}

// killMode is the KillMode of a unit: that of its file, unless a drop-in says
// otherwise.
func killMode(unit string, dirs []string) string {
	mode := ""
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, unit))
		if err == nil {
			mode = lastKillMode(string(text))
			break
		}
	}
	dropIns := map[string]string{} // by file name; the strongest directory's wins
	for _, dir := range slices.Backward(dirs) {
		files, _ := filepath.Glob(filepath.Join(dir, unit+".d", "*.conf"))
		for _, f := range files {
			dropIns[filepath.Base(f)] = f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dropIns)) {
		text, _ := os.ReadFile(dropIns[name])
		if m := lastKillMode(string(text)); m != "" {
			mode = m
		}
	}
	if mode == "" {
		return "control-group" // systemd's default
	}
	return mode
}

// lastKillMode is the last KillMode that a unit's text sets.
func lastKillMode(text string) string {
	mode := ""
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "KillMode" {
			mode = strings.TrimSpace(value)
		}
	}
	return mode
}
