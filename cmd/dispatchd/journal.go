package main

import (
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// journalSink writes to systemd's journal. Each attribute is a field as well, for
// journalctl's filters: DISPATCHER and JOB_ID, and DISPATCHD_KEY for the others.
func journalSink(level slog.Level, line string, attrs []slog.Attr) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": "dispatchd"}
	for _, a := range attrs {
		fields[journalField(a.Key)] = a.Value.String()
	}
	return journal.Send(line, journalPriority(level), fields)
}

// journalField names the field of an attribute.
func journalField(key string) string {
	switch key {
	case "dispatcher":
		return "DISPATCHER"
	case "job":
		return "JOB_ID"
	}
	return "DISPATCHD_" + strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' {
			return c
		}
		return '_'
	}, strings.ToUpper(key))
}

// journalPriority gives the journal's priority for a level.
func journalPriority(l slog.Level) journal.Priority {
	return journal.Priority(severity(l))
}
