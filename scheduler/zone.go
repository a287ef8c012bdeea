package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Zones reads the time zones of the machine from its files, anew at each call: a
// package brings new rules, an admin moves the machine. It keeps the last good one
// of each, so that what is in force stays so when a file goes. A zone whose files
// say the same as before is the same *time.Location as before. The zero value is
// ready, and any number of goroutines may use it.
type Zones struct {
	mu    sync.Mutex
	known map[string]zoneFile // by name; the machine's own under localKey
	gone  bool                // /etc/localtime was missing at the last look
	file  string              // in place of /etc/localtime; a test's
}

// zoneFile is a zone and what it was made of.
type zoneFile struct {
	data string
	loc  *time.Location
}

const (
	localKey  = "\x00local"
	localtime = "/etc/localtime"
	maxZone   = 1 << 20 // the largest file of tzdata has 4 KiB
)

// ErrNoZones reports a machine without time zone files.
var ErrNoZones = errors.New("this machine has no time zone files")

// sources are the directories of time zone files, in the order in which package
// time looks through them.
func sources() []string {
	dirs := []string{"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"}
	if own := os.Getenv("ZONEINFO"); own != "" {
		dirs = append([]string{own}, dirs...)
	}
	return dirs
}

// Load gives the zone of an IANA name as the files say it now.
func (z *Zones) Load(name string) (*time.Location, error) {
	if err := checkZoneName(name); err != nil {
		return nil, err
	}
	if name == "UTC" {
		return time.UTC, nil
	}
	loc, err := z.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		// A program may have the zones built in, or find them in a zip file.
		if loc, terr := time.LoadLocation(name); terr == nil {
			return z.keep(name, "built in", loc), nil
		}
		err = fmt.Errorf("%q is no IANA time zone known here", name)
		if len(z.Names()) == 0 {
			err = fmt.Errorf("%q: %w", name, ErrNoZones)
		}
	}
	return loc, err
}

// checkZoneName refuses what tzdata has files of though it names no place: they
// mean another zone on each machine, none at all, or count leap seconds.
func checkZoneName(name string) error {
	switch {
	case name == "" || name == "Local" || name == "localtime":
		return fmt.Errorf("%q is no IANA time zone, want an IANA name such as Europe/Berlin", name)
	case name == "posixrules" || name == "Factory":
		return fmt.Errorf("%q is a file of tzdata, but no IANA time zone", name)
	case strings.HasPrefix(name, "right/"):
		return fmt.Errorf("%q counts leap seconds, which no clock here does; want %s", name, strings.TrimPrefix(name, "right/"))
	case strings.HasPrefix(name, "posix/"):
		return fmt.Errorf("%q is no IANA time zone; want %s", name, strings.TrimPrefix(name, "posix/"))
	case strings.HasPrefix(name, "/") || strings.Contains(name, "..") || strings.Contains(name, `\`):
		return fmt.Errorf("%q is no IANA time zone but a path", name)
	}
	return nil
}

// Of is the zone as the files say it now or, with the error that they give, as
// they said it last.
func (z *Zones) Of(name string) (*time.Location, error) {
	loc, err := z.Load(name)
	if err != nil {
		loc = z.last(name)
	}
	return loc, err
}

// last is the last good zone of a name, nil = there was none.
func (z *Zones) last(name string) *time.Location {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.known[name].loc
}

// load reads a zone from the first directory that has it.
func (z *Zones) load(name string) (*time.Location, error) {
	for _, dir := range sources() {
		data, err := readZone(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || err != nil && isZip(dir) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return z.parse(name, name, data)
	}
	return nil, fs.ErrNotExist
}

// isZip reports whether a source is a file with all zones, as ZONEINFO may name.
func isZip(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && !fi.IsDir()
}

// readZone reads one file of tzdata.
func readZone(path string) (string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxZone {
		return "", fmt.Errorf("%s: is no time zone file", path)
	}
	data, err := os.ReadFile(path)
	return string(data), err
}

// parse makes a zone of a file's content, or gives the one that was made of it.
func (z *Zones) parse(key, name, data string) (*time.Location, error) {
	z.mu.Lock()
	was := z.known[key]
	z.mu.Unlock()
	if was.loc != nil && was.data == data && was.loc.String() == name {
		return was.loc, nil
	}
	loc, err := time.LoadLocationFromTZData(name, []byte(data))
	if err != nil {
		return nil, fmt.Errorf("%q: its file is no time zone's", name)
	}
	return z.keep(key, data, loc), nil
}

// keep notes the zone of a key, and gives the one that is there already if nothing
// is another.
func (z *Zones) keep(key, data string, loc *time.Location) *time.Location {
	z.mu.Lock()
	defer z.mu.Unlock()
	if was := z.known[key]; was.loc != nil && was.data == data && was.loc.String() == loc.String() {
		return was.loc
	}
	if z.known == nil {
		z.known = map[string]zoneFile{}
	}
	z.known[key] = zoneFile{data, loc}
	return loc
}

// Local is the machine's zone as it is now: by TZ, else by /etc/localtime. An
// error says what is wrong with that; the zone is then the last good one, and UTC
// if there was none, as for every other program.
func (z *Zones) Local() (*time.Location, error) {
	tz, set := os.LookupEnv("TZ")
	var loc *time.Location
	var err error
	if set {
		loc, err = z.byVariable(tz)
	} else {
		loc, err = z.byFile()
	}
	if err != nil {
		if loc = z.last(localKey); loc == nil {
			return time.UTC, fmt.Errorf("%w; times are UTC", err)
		}
		return loc, fmt.Errorf("%w; times are still those of %s", err, loc)
	}
	return loc, nil
}

// byFile reads /etc/localtime. Without that file the machine's zone is UTC; but
// whoever replaces it may have taken the old one away a moment ago, so a file that
// was there counts as gone at the second look only.
func (z *Zones) byFile() (*time.Location, error) {
	path := cmp.Or(z.file, localtime)
	target, lerr := os.Readlink(path)
	data, err := readZone(path)
	_, missing := os.Lstat(path)
	if errors.Is(missing, fs.ErrNotExist) {
		z.mu.Lock()
		first := !z.gone && z.known[localKey].loc != nil
		z.gone = true
		z.mu.Unlock()
		if first {
			return nil, fmt.Errorf("%s is gone", path)
		}
		return z.keep(localKey, "", time.UTC), nil
	}
	z.mu.Lock()
	z.gone = false
	z.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	name := "Local"
	if _, zone, ok := strings.Cut(target, "zoneinfo/"); ok && lerr == nil {
		name = zone
	}
	return z.parse(localKey, name, data)
}

// byVariable reads TZ as the C library does: a name, a file, or a rule such as
// CET-1CEST,M3.5.0,M10.5.0/3.
func (z *Zones) byVariable(tz string) (*time.Location, error) {
	text := strings.TrimPrefix(tz, ":")
	if text == "" || text == "UTC" {
		return z.keep(localKey, "", time.UTC), nil
	}
	if filepath.IsAbs(text) {
		data, err := readZone(text)
		if err != nil {
			return nil, fmt.Errorf("TZ=%q: %w", tz, cause(err))
		}
		return z.parse(localKey, text, data)
	}
	if !strings.Contains(text, "..") {
		for _, dir := range sources() {
			if data, err := readZone(filepath.Join(dir, text)); err == nil {
				return z.parse(localKey, text, data)
			}
		}
	}
	if loc, ok := ruleZone(text); ok {
		return z.keep(localKey, text, loc), nil
	}
	if loc, err := time.LoadLocation(text); err == nil {
		return z.keep(localKey, "built in", loc), nil
	}
	if len(z.Names()) == 0 {
		return nil, fmt.Errorf("TZ=%q: %w", tz, ErrNoZones)
	}
	return nil, fmt.Errorf("TZ=%q: no such time zone is known here", tz)
}

// cause is what an error of a file says behind the file's name.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// ruleZone reads a rule as the last line of a TZif file has it: POSIX's form of
// TZ, which package time takes for UTC without a word.
func ruleZone(rule string) (*time.Location, bool) {
	if strings.ContainsAny(rule, "\n\x00") || len(rule) > 200 {
		return nil, false
	}
	const unread = "?" // the name of the one zone of the file, which the rule replaces
	head := func(types, chars byte) string {
		b := make([]byte, 44)
		copy(b, "TZif2")
		b[39], b[43] = types, chars // tzfile(5): the numbers of types and of bytes of names
		return string(b)
	}
	data := head(0, 0) + head(1, 2) + "\x00\x00\x00\x00\x00\x00" + unread + "\x00" + "\n" + rule + "\n"
	loc, err := time.LoadLocationFromTZData(rule, []byte(data))
	if err != nil {
		return nil, false
	}
	name, _ := time.Unix(0, 0).In(loc).Zone()
	return loc, name != unread
}

// Names lists the IANA names that the machine has files of, sorted.
func (z *Zones) Names() []string {
	for _, dir := range sources() {
		var names []string
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			name, _ := strings.CutPrefix(path, dir+"/")
			switch {
			case err != nil: // a directory that cannot be read
				return fs.SkipDir
			case path == dir:
			case e.IsDir() && (name == "right" || name == "posix" || len(name) > 64):
				return fs.SkipDir
			case !e.IsDir() && !strings.ContainsRune(name, '.') && name[0] >= 'A' && name[0] <= 'Z' && checkZoneName(name) == nil:
				names = append(names, name)
			}
			return nil
		})
		if len(names) > 0 {
			slices.Sort(names)
			return names
		}
	}
	return nil
}
