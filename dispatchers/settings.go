package dispatchers

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// Settings are the keys of dispatchd.toml, with all defaults filled in.
type Settings struct {
	SocketGroup      string // group of the control socket, "" = the daemon's
	Durability       mode.Durability
	MaxRunning       int   // of all dispatchers together, 0 = no limit
	MaxOutstanding   int   // queued and running of all, 0 = no limit
	MaxArgumentBytes int64 // of queued and running jobs of all, 0 = no limit
	MaxKeys          int   // idempotency keys of all, 0 = no limit
	HistoryCount     int
	HistoryAge       time.Duration
	HistoryBytes     int64
	HistoryKeep      int   // of each dispatcher, so many of the last jobs stay
	LogBytes         int64 // of all jobs' output together
	KeepFreeState    int64 // below so much room on the disk of state nothing starts, 0 = it may be full
	KeepFreeRun      int64 // the same of the run directory
	LogLevel         string
	LogFormat        string
	Path             string // PATH of the jobs, "" = the built-in one
	PackageManager   string
	MaxConnections   int
	PHP              string // interpreter of php_class, a path or a name to be found in Path
	PHPBridge        string // program that runs a php_class
	PHPLoader        string // package, lazy
}

// DefaultSettings are the settings of a daemon without a file. The path of the
// PHP bridge depends on the platform, so its row has no default.
func DefaultSettings() Settings {
	s := Settings{PHPBridge: ipc.PHPBridge()}
	settingsKeys().setDefaults(&s, "")
	return s
}

// LoadSettings reads dispatchd.toml as strictly as a dispatcher's file; it must
// belong to root or the calling user. A missing file means all defaults.
func LoadSettings(path string) (Settings, []Fault) {
	s := DefaultSettings()
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	} else if err != nil { // the file may be there: its settings must not be lost silently
		return s, []Fault{fileFault(path, err)}
	}
	t := trust{uid: os.Geteuid()}
	if err := t.directory(filepath.Dir(path)); err != nil {
		return s, []Fault{fileFault(path, err)}
	}
	data, err := t.read(path)
	if err != nil {
		return s, []Fault{fileFault(path, err)}
	}
	d, doc := newDecoder(), parseTOML(&source{path: path, data: data})
	settingsKeys().decode(d, doc.root, &s)
	if v := d.seen["path"]; v != nil && s.Path != "" {
		if u, bad := errors.AsType[*untrusted](t.searchPath(s.Path)); bad {
			d.bad(v, u.suggestion, "%s", u.message)
		}
	}
	d.addSyntaxFaults(doc)
	sortFaults(d.faults)
	return s, d.faults
}

// Differing names the keys whose values differ between s and o, sorted.
func (s Settings) Differing(o Settings) []string {
	var names []string
	for _, row := range settingsKeys() {
		if row.value(&s) != row.value(&o) {
			names = append(names, row.name)
		}
	}
	slices.Sort(names)
	return names
}

// settingsKeys are the keys of dispatchd.toml, in the order of its manual page.
func settingsKeys() keys[Settings] {
	return slices.Concat(keys[Settings]{
		{
			name: "socket_group", deflt: `""`, field: text(func(s *Settings) *string { return &s.SocketGroup }, orEmpty(account)),
			doc: "Group of the control socket; its members may use the daemon.",
		}, {
			name: "max_connections", deflt: `512`, field: integer(func(s *Settings) *int { return &s.MaxConnections }, 1, 100_000),
			doc: "Open connections to the socket; a request above is refused.",
		}, {
			name: "durability", deflt: `"disk"`, field: word(func(s *Settings) *mode.Durability { return &s.Durability }),
			doc: "When an accepted job is on disk: before the answer, within a second, never.",
		}, {
			name: "max_running", deflt: `0`, field: integer(func(s *Settings) *int { return &s.MaxRunning }, 0, math.MaxInt32),
			doc: "Runs at a time of all dispatchers together; 0 = no limit.",
		}, {
			name: "max_outstanding", deflt: `100000`, field: integer(func(s *Settings) *int { return &s.MaxOutstanding }, 0, math.MaxInt32),
			doc: "Queued and running jobs of all dispatchers together; 0 = no limit.",
		}, {
			name: "max_argument_bytes", deflt: `"32 MiB"`, field: size(func(s *Settings) *int64 { return &s.MaxArgumentBytes }, 0),
			doc: "Arguments of the queued and running jobs of all dispatchers together; 0 = no limit but theirs.",
		}, {
			name: "max_keys", deflt: `100000`, field: integer(func(s *Settings) *int { return &s.MaxKeys }, 0, math.MaxInt32),
			doc: "Idempotency keys that are kept of all dispatchers together; 0 = no limit but theirs.",
		},
	}, historyKeys(), roomKeys(), logKeys(), programKeys())
}

// historyKeys say what is kept of ended jobs.
func historyKeys() keys[Settings] {
	return keys[Settings]{
		{
			name: "history_count", deflt: `10000`, field: integer(func(s *Settings) *int { return &s.HistoryCount }, 1, math.MaxInt32),
			doc: "How many ended jobs are kept.",
		}, {
			name: "history_age", deflt: `"720h"`, field: duration(func(s *Settings) *time.Duration { return &s.HistoryAge }, time.Minute),
			doc: "How long ended jobs are kept.",
		}, {
			name: "history_bytes", deflt: `"16 MiB"`, field: size(func(s *Settings) *int64 { return &s.HistoryBytes }, 1<<10),
			doc: "How much room ended jobs may take.",
		}, {
			name: "history_keep", deflt: `10`, field: integer(func(s *Settings) *int { return &s.HistoryKeep }, 0, 10_000),
			doc: "How many of the last jobs of each dispatcher stay in the history, with their output, however old they are.",
		}, {
			name: "log_bytes", deflt: `"64 MiB"`, field: size(func(s *Settings) *int64 { return &s.LogBytes }, 1<<10),
			doc: "How much room the output of all jobs may take.",
		},
	}
}

// roomKeys say how much of a disk is left alone.
func roomKeys() keys[Settings] {
	return keys[Settings]{
		{
			name: "keep_free_state", deflt: `"4 MiB"`, field: size(func(s *Settings) *int64 { return &s.KeepFreeState }, 0),
			doc: "With less room on the disk of the state directory nothing starts; on a small disk a twentieth of it, if that is less; 0 = off.",
		}, {
			name: "keep_free_run", deflt: `"256 KiB"`, field: size(func(s *Settings) *int64 { return &s.KeepFreeRun }, 0),
			doc: "The same for the run directory, beside the arguments of the job.",
		},
	}
}

// logKeys say what the daemon logs.
func logKeys() keys[Settings] {
	return keys[Settings]{
		{
			name: "log_level", deflt: `"info"`,
			field: choice(func(s *Settings) *string { return &s.LogLevel }, "debug", "info", "warn", "error"),
			doc:   "How much is logged.",
		}, {
			name: "log_format", deflt: `"auto"`,
			field: choice(func(s *Settings) *string { return &s.LogFormat }, "auto", "text", "json", "journal", "syslog", "syslog5424"),
			doc:   "Where and how is logged; auto: colours on a terminal, systemd's journal where it takes standard error, else text.",
		},
	}
}

// programKeys name the programs that jobs need.
func programKeys() keys[Settings] {
	return keys[Settings]{
		{
			name: "path", deflt: `""`, field: text(func(s *Settings) *string { return &s.Path }, orEmpty(searchPath)),
			doc: "PATH of the jobs; empty = the built-in one.",
		}, {
			name: "package_manager", deflt: `"auto"`,
			field: choice(func(s *Settings) *string { return &s.PackageManager }, "auto", "pkg", "dpkg", "rpm", "apk"),
			doc:   "Whom required_packages are asked of.",
		}, {
			name: "php", deflt: `"php"`, field: text(func(s *Settings) *string { return &s.PHP }, program),
			doc: "The PHP interpreter of php_class: a path, or a name to be found in path.",
		}, {
			name: "php_bridge", field: text(func(s *Settings) *string { return &s.PHPBridge }, absolutePath),
			doc: "The program that runs a php_class; the default is where the package puts it.",
		}, {
			name: "php_loader", deflt: `"package"`, field: choice(func(s *Settings) *string { return &s.PHPLoader }, "package", "lazy"),
			doc: "How a php_class is found: package loads all classes as the REST API package does, lazy each when it is used.",
		},
	}
}
