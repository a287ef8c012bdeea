package dispatchers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Definition gives every key that is in force, named as in the file and with
// values that the file would take. Keys that are empty by default are left out.
func (s *Spec) Definition() map[string]any {
	m := map[string]any{
		"timeout": durationText(s.Timeout), "queue_timeout": durationText(s.QueueTimeout),
		"max_queue": s.MaxQueue, "concurrency": s.Concurrency, "coalesce": s.Coalesce,
		"success_exit_codes": slices.Clone(s.SuccessExitCodes),
		"kill_grace":         durationText(s.KillGrace), "kill_mode": string(s.KillMode),
		"survive_restart": s.SurviveRestart, "on_interrupt": string(s.OnInterrupt), "leftovers": string(s.Leftovers),
		"umask": fmt.Sprintf("%04o", s.Umask), "working_directory": s.WorkingDirectory,
		"max_output": s.MaxOutput, "retry": s.Retry.definition(),
	}
	for key, v := range map[string]string{
		"description": s.Description, "script": s.Script, "php_class": s.PHPClass, "user": s.User, "group": s.Group, "durability": string(s.Durability),
	} {
		if v != "" {
			m[key] = v
		}
	}
	for key, v := range map[string][]string{
		"command": s.Command, "package_includes": s.PackageIncludes,
		"required_packages": s.RequiredPackages, "coalesce_key": s.CoalesceKey,
	} {
		if len(v) > 0 {
			m[key] = slices.Clone(v)
		}
	}
	s.addGroups(m)
	return m
}

// addGroups adds the keys that say something only together, and the tables.
func (s *Spec) addGroups(m map[string]any) {
	if s.Debounce > 0 {
		m["debounce"], m["debounce_max"] = durationText(s.Debounce), durationText(s.DebounceMax)
	}
	s.addTiming(m)
	if s.Cache != nil {
		m["cache"] = s.Cache.definition()
	}
	if len(s.Environment) > 0 {
		m["environment"] = maps.Clone(s.Environment)
	}
	locks := map[string]any{}
	if len(s.Exclusive) > 0 {
		locks["exclusive"] = slices.Clone(s.Exclusive)
	}
	if len(s.Shared) > 0 {
		locks["shared"] = slices.Clone(s.Shared)
	}
	if len(locks) > 0 {
		m["locks"] = locks
	}
}

// definition is the retry table.
func (r Retry) definition() map[string]any {
	m := map[string]any{
		"attempts": r.Attempts, "backoff": durationText(r.Backoff), "max_backoff": durationText(r.MaxBackoff),
	}
	if len(r.ExitCodes) > 0 {
		m["exit_codes"] = slices.Clone(r.ExitCodes)
	}
	return m
}

// durationText writes 5m for five minutes, where Go would write 5m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
