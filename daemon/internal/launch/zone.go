package launch

import (
	"os"
	"path/filepath"
	"strings"
)

// localtime is the file of the machine's time zone (tzset(3)).
const localtime = "/etc/localtime"

// SystemZone is the time zone in force, as a job's TZ says it: the daemon's own TZ,
// else the machine's by its name, so that programs which want a name have one. It
// looks anew at each call: the machine's zone may change while the daemon runs.
func SystemZone() string {
	if zone, set := os.LookupEnv("TZ"); set {
		if zone == "" { // POSIX and Go take it for UTC
			return "UTC"
		}
		return zone
	}
	return zoneOf(localtime)
}

// zoneOf names the zone of a file: by where it is linked to below a directory
// zoneinfo, else as the file itself. A machine without one has UTC. It is asked at each
// start of a job, so the usual link takes two calls.
func zoneOf(path string) string {
	if _, err := os.Stat(path); err != nil {
		return "UTC"
	}
	// The nearest link that names a zone counts, not where its zone's file is linked
	// to in turn: Debian's Europe/Kiev is Europe/Kyiv's.
	target, err := os.Readlink(path)
	if err != nil {
		return ":" + path
	}
	if _, name, ok := strings.Cut(target, "/zoneinfo/"); ok {
		return name
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "UTC"
	}
	if _, name, ok := strings.Cut(real, "/zoneinfo/"); ok {
		return name
	}
	return ":" + path
}
