package daemon

import (
	"os"
	"strings"
)

// machine gives a text that is another on each machine and the same for good, by
// which jitter spreads: the machine's id, else that of the state directory. A name
// would be neither: appliances share the one that they were delivered with, and an
// admin changes it. A machine that has none of them has its name.
func (h *host) machine() string {
	id := h.dir.ID()
	if h.dir.Volatile() {
		id = "" // the next boot has another
	}
	return machineOf(id,
		"/etc/machine-id", "/var/lib/dbus/machine-id", // machine-id(5)
		"/etc/hostid", // FreeBSD's rc.d/hostid writes a UUID; on Linux it is another file
	)
}

// machineOf is the first id that one of these files has, else that of the state
// directory, else the machine's name.
func machineOf(state string, files ...string) string {
	for _, path := range files {
		text, err := os.ReadFile(path)
		if id := strings.TrimSpace(string(text)); err == nil && isMachineID(id) {
			return id
		}
	}
	if state != "" {
		return state
	}
	name, _ := os.Hostname()
	return name
}

// isMachineID reports whether a file of an id holds one: 32 hexadecimal digits,
// dashes apart, of which not all are zero. An image that is made for copies has an
// empty file, or the word uninitialized.
func isMachineID(text string) bool {
	digits := strings.ToLower(strings.ReplaceAll(text, "-", ""))
	return len(digits) == 32 && strings.Trim(digits, "0123456789abcdef") == "" && strings.Trim(digits, "0") != ""
}
