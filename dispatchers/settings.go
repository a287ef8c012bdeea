package dispatchers

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// Settings are the keys of dispatchd.toml, with all defaults filled in.
type Settings struct {
	SocketGroup    string // group of the control socket, "" = the daemon's
	Durability     mode.Durability
	MaxRunning     int // of all dispatchers together, 0 = no limit
	MaxOutstanding int // queued and running of all, 0 = no limit
	HistoryCount   int
	HistoryAge     time.Duration
	HistoryBytes   int64
	LogBytes       int64 // of all jobs' output together
	LogLevel       string
	LogFormat      string
	Path           string // PATH of the jobs, "" = the built-in one
	PackageManager string
	MaxConnections int
	PHP            string // interpreter of php_class, a path or a name to be found in Path
	PHPBridge      string // program that runs a php_class
	PHPLoader      string // package, lazy
}

// DefaultSettings are the settings of a daemon without a file.
func DefaultSettings() Settings {
	return Settings{
		Durability: mode.Disk, MaxOutstanding: 100_000,
		HistoryCount: 10_000, HistoryAge: 720 * time.Hour, HistoryBytes: 16 << 20, LogBytes: 64 << 20,
		LogLevel: "info", LogFormat: "auto", PackageManager: "auto", MaxConnections: 512,
		PHP: "php", PHPBridge: ipc.PHPBridge(), PHPLoader: "package",
	}
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
	} else if err != nil { // it may be there: not to know it is no reason to go on without
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
	d.table(doc.root, d.settings(&s), nil)
	d.take(doc)
	sortFaults(d.faults)
	return s, d.faults
}

// Differing names the keys whose values are others in o, sorted.
func (s Settings) Differing(o Settings) []string {
	var keys []string
	mine, theirs := reflect.ValueOf(s), reflect.ValueOf(o)
	for i := range mine.NumField() {
		if !mine.Field(i).Equal(theirs.Field(i)) {
			keys = append(keys, keyOf(mine.Type().Field(i).Name))
		}
	}
	slices.Sort(keys)
	return keys
}

// keyOf is the key that a field of Settings has in the file: LogBytes is
// log_bytes, PHPBridge php_bridge.
func keyOf(field string) string {
	var key strings.Builder
	for i, c := range field {
		next := i+1 < len(field) && unicode.IsLower(rune(field[i+1]))
		if i > 0 && unicode.IsUpper(c) && (next || unicode.IsLower(rune(field[i-1]))) {
			key.WriteByte('_')
		}
		key.WriteRune(unicode.ToLower(c))
	}
	return key.String()
}

// settings maps every key of dispatchd.toml to what takes its value.
func (d *decoder) settings(s *Settings) map[string]setter {
	return map[string]setter{
		"socket_group":    d.text(&s.SocketGroup, orEmpty(account)),
		"durability":      choice(d, &s.Durability, s.Durability.Values()...),
		"max_running":     d.integer(&s.MaxRunning, 0, math.MaxInt32),
		"max_outstanding": d.integer(&s.MaxOutstanding, 0, math.MaxInt32),
		"history_count":   d.integer(&s.HistoryCount, 1, math.MaxInt32),
		"history_age":     d.duration(&s.HistoryAge, time.Minute),
		"history_bytes":   d.size(&s.HistoryBytes, 1<<10),
		"log_bytes":       d.size(&s.LogBytes, 1<<10),
		"log_level":       choice(d, &s.LogLevel, "debug", "info", "warn", "error"),
		"log_format":      choice(d, &s.LogFormat, "auto", "text", "json", "journal", "syslog", "syslog5424"),
		"path":            d.text(&s.Path, orEmpty(searchPath)),
		"package_manager": choice(d, &s.PackageManager, "auto", "pkg", "dpkg", "rpm", "apk"),
		"max_connections": d.integer(&s.MaxConnections, 1, 100_000),
		"php":             d.text(&s.PHP, program),
		"php_bridge":      d.text(&s.PHPBridge, absolutePath),
		"php_loader":      choice(d, &s.PHPLoader, "package", "lazy"),
	}
}

// program wants a path or a bare name: never a command line, and nothing below
// a working directory.
func program(s string) string {
	if !filepath.IsAbs(s) && (s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/ \t\n")) {
		return "want an absolute path or the bare name of a program"
	}
	return ""
}

// orEmpty lets the empty string pass, which means the default.
func orEmpty(check func(string) string) func(string) string {
	return func(s string) string {
		if s == "" {
			return ""
		}
		return check(s)
	}
}

// searchPath wants absolute directories: an empty or relative one would be
// looked up where a job happens to run.
func searchPath(s string) string {
	for dir := range strings.SplitSeq(s, ":") {
		if !filepath.IsAbs(dir) {
			return "want absolute directories with colons between"
		}
	}
	return ""
}
