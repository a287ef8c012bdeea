package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unit checks the settings of the daemon's systemd unit by which systemd would
// kill jobs together with the daemon (systemd.kill(5)).
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
	found := len(d.found)
	set := unitSettings(name, unitDirs())
	for _, rule := range unitRules() {
		if value := set.value(rule.key, rule.standard); value != rule.want && (rule.with == "" || set[rule.with] != "") {
			d.bad("unit_kills_jobs", fmt.Sprintf("systemctl edit %s, and set %s=%s in [Service]", name, rule.key, rule.want), "%s (%s has %s=%s)", rule.without, name, rule.key, value)
		}
	}
	if len(d.found) == found {
		d.ok("unit", "systemd leaves jobs alone when the daemon ends (%s has KillMode=process)", name)
	}
}

// unitRule is a setting of a service that jobs need to outlive the daemon.
type unitRule struct {
	key, want, standard string
	with                string // it matters only where this is set, too
	without             string // what happens without it
}

// unitRules are those settings.
func unitRules() []unitRule {
	return []unitRule{
		{"KillMode", "process", "control-group", "", "systemd kills every job when the daemon ends or crashes"},
		{"OOMPolicy", "continue", "stop", "", "systemd stops the daemon when a job runs out of memory"},
		{"RuntimeDirectoryPreserve", "yes", "no", "RuntimeDirectory", "systemd removes the locks and marks of running jobs when the daemon stops"},
	}
}

// unitDirs are where systemd reads units, the strongest first.
func unitDirs() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

// unitOf finds a process's service in its /proc/PID/cgroup; "" = none.
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

// unitFile are the settings of a unit, by key.
type unitFile map[string]string

// value is a setting, or systemd's default.
func (s unitFile) value(key, standard string) string {
	if v := s[key]; v != "" {
		return v
	}
	return standard
}

// unitSettings are those of a unit's file with its drop-ins over them.
func unitSettings(unit string, dirs []string) unitFile {
	set := unitFile{}
	for _, dir := range dirs {
		if text, err := os.ReadFile(filepath.Join(dir, unit)); err == nil {
			set.read(string(text))
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
		if text, err := os.ReadFile(dropIns[name]); err == nil {
			set.read(string(text))
		}
	}
	return set
}

// read adds the settings of one file; a later one is stronger.
func (s unitFile) read(text string) {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") && !strings.HasPrefix(key, ";") {
			s[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
}
