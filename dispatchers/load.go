package dispatchers

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// Catalog has the good dispatchers that Load found, and the faults of the others.
type Catalog struct {
	Specs    map[string]*Spec
	Disabled map[string][]Fault // by name, why
	Unlisted []Fault            // directories whose files are not even known
	Faults   []Fault            // all, sorted by file, row and column
	Warnings []Fault            // of good definitions: what would make their jobs fail on this host as it is now
	Unread   []Fault            // files and directories that are not read, though they may be meant to be
}

// Broken says why a dispatcher has no Spec though it may be meant to have one:
// its file is bad, or is perhaps in a directory that cannot be listed.
func (c *Catalog) Broken(name string) ([]Fault, bool) {
	if faults, bad := c.Disabled[name]; bad {
		return faults, true
	}
	return c.Unlisted, len(c.Unlisted) > 0 && c.Specs[name] == nil
}

// KeepGood takes over definitions from the catalog in force: the last good one
// of each dispatcher whose file is bad now, and of all that are not found while a
// directory cannot be read. A typo at a reload stops no dispatcher.
func (c *Catalog) KeepGood(old *Catalog) {
	for name, last := range old.Specs {
		if _, bad := c.Broken(name); bad {
			c.Specs[name] = last
		}
	}
}

// NoteMissing adds the fault of a directory that is not there, though dispatchers are
// known that were defined in it: what it would define is not known.
func (c *Catalog) NoteMissing(dir string, names []string) {
	const most = 5
	list := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	f := Fault{
		File: dir, Message: "is not there, and " + list + " would be defined in it",
		Suggestion: "put it back, or make an empty one if nothing is to be defined there",
	}
	c.Unlisted, c.Faults = append(c.Unlisted, f), append(c.Faults, f)
	sortFaults(c.Faults)
}

// Options says where definitions are.
type Options struct {
	Dirs          []string // packages' first, the admin's last; a missing one is empty
	Functions     *Set     // nil = none
	TrustUID      int      // files may belong to this user or root
	SkipOwnership bool     // for an offline check of files that are not installed

	Path  string           // of jobs whose definition sets none, "" = DefaultPath
	Zones *scheduler.Zones // by which timezone is judged; nil = the machine's, read anew

	// MayRunAs says why jobs cannot run as a user and group, "" when they can;
	// nil = that is not checked.
	MayRunAs func(user, group string) string
}

// Names lists all dispatchers, good and disabled, sorted.
func (c *Catalog) Names() []string {
	names := maps.Clone(c.Disabled)
	if names == nil {
		names = map[string][]Fault{}
	}
	for name := range c.Specs {
		names[name] = nil
	}
	return slices.Sorted(maps.Keys(names))
}

// Nearest gives the dispatcher's name that is nearest to a wrong one, "" when
// none is.
func (c *Catalog) Nearest(name string) string { return ipc.Nearest(name, c.Names()) }

// Load reads all definitions. It always gives a Catalog: a bad file disables
// its dispatcher, a bad directory all that it has a file for.
func Load(o Options) *Catalog {
	l := &loader{
		o: o, trust: trust{uid: o.TrustUID, off: o.SkipOwnership}, layers: map[string]*layers{},
		keys: fileKeys(), bare: defaults(""), c: &Catalog{Specs: map[string]*Spec{}, Disabled: map[string][]Fault{}},
	}
	for _, name := range o.Functions.Names() {
		l.layersOf(name).function = true
	}
	for _, dir := range o.Dirs {
		l.scan(dir)
	}
	for _, name := range slices.Sorted(maps.Keys(l.layers)) {
		l.build(name, l.layers[name])
	}
	sortFaults(l.c.Faults)
	sortFaults(l.c.Warnings)
	sortFaults(l.c.Unread)
	return l.c
}

// layers are the files of one name.
type layers struct {
	function bool
	base     string // the file of the last directory that has one
	dropIns  []string
	faults   []Fault // of directories, and of files that cannot be read
}

// loader is one Load at work.
type loader struct {
	o      Options
	trust  trust
	keys   keys[Spec]
	bare   *Spec // no key set
	layers map[string]*layers
	c      *Catalog
}

// layersOf gives the layers of a name.
func (l *loader) layersOf(name string) *layers {
	if l.layers[name] == nil {
		l.layers[name] = &layers{}
	}
	return l.layers[name]
}

// fileFault makes the fault of a file or directory as a whole.
func fileFault(path string, err error) Fault {
	f := Fault{File: path, Message: err.Error()}
	if u, ok := errors.AsType[*untrusted](err); ok {
		f.Suggestion = u.suggestion
	}
	// The fault begins with the path; "open /a/b: permission denied" repeats it.
	if p, ok := errors.AsType[*fs.PathError](err); ok && p.Path == path {
		f.Message = p.Op + ": " + p.Err.Error()
	}
	f.Message = strings.TrimPrefix(f.Message, path+" ")
	return f
}

// scan sorts the entries of one directory into layers.
func (l *loader) scan(dir string) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		l.c.Faults = append(l.c.Faults, fileFault(dir, err))
		return
	}
	// The names in a directory that cannot be trusted say which dispatchers to
	// disable. No file of it is believed.
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.unreadable(fileFault(dir, err))
		return
	}
	err = l.trust.directory(dir)
	var bad []Fault
	if err != nil {
		bad = []Fault{fileFault(dir, err)}
		l.c.Faults = append(l.c.Faults, bad...)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if stem, ok := stemOf(e.Name(), ".toml"); ok {
			of := l.layersOf(stem)
			of.base, of.faults = path, append(of.faults, bad...)
		} else if stem, ok := stemOf(e.Name(), ".d"); ok && ValidName(stem) {
			l.scanDropIns(path, l.layersOf(stem), bad)
		} else {
			l.unread(dir, e, "")
		}
	}
}

// unreadable notes a directory that cannot be listed. It disables what the
// directories before it define, too: this one may replace, change or mask it.
func (l *loader) unreadable(f Fault) {
	l.c.Unlisted, l.c.Faults = append(l.c.Unlisted, f), append(l.c.Faults, f)
	for _, of := range l.layers {
		of.faults = append(of.faults, f)
	}
}

// scanDropIns lists the drop-ins of one directory for one name.
func (l *loader) scanDropIns(dir string, of *layers, bad []Fault) {
	entries, err := os.ReadDir(dir)
	if err == nil && len(bad) == 0 {
		err = l.trust.directory(dir)
	}
	if err != nil {
		of.faults = append(of.faults, fileFault(dir, err))
	}
	for _, e := range entries {
		if _, ok := stemOf(e.Name(), ".toml"); ok {
			of.dropIns = append(of.dropIns, filepath.Join(dir, e.Name()))
		} else {
			l.unread(dir, e, filepath.Base(dir))
		}
	}
	of.faults = append(of.faults, bad...)
}

// stemOf cuts the ending off; false for hidden files and for the copies that
// package managers and editors leave behind.
func stemOf(name, ending string) (string, bool) {
	stem, ok := strings.CutSuffix(name, ending)
	if !ok || stem == "" || strings.HasPrefix(name, ".") || strings.Contains(name, ".dpkg-") {
		return "", false
	}
	for _, leftover := range []string{".rpmnew", ".rpmsave", ".rpmorig", ".pkgnew", ".pkgsave", "~"} {
		if strings.HasSuffix(stem, leftover) {
			return "", false
		}
	}
	return stem, true
}

// build makes one Spec of its layers, or disables it.
func (l *loader) build(name string, of *layers) {
	if of.base == "" && !of.function {
		if len(of.dropIns) > 0 {
			l.dropInsOfNone(name, of)
		}
		return
	}
	faults := slices.Clone(of.faults)
	if of.base != "" && !ValidName(name) {
		faults = append(faults, Fault{
			File: of.base, Message: fmt.Sprintf("%q is no name of a dispatcher", printable(clip(name))),
			Suggestion: "a name is a letter, then letters, digits, _ and -, at most 64",
		})
	}
	spec, masked, found := l.merge(name, of)
	faults = append(faults, found...)
	// An empty file in a directory that others can write is no mask but a fault.
	if masked && len(faults) == 0 {
		return
	}
	if len(faults) == 0 {
		l.c.Specs[name] = spec
		return
	}
	sortFaults(faults)
	l.c.Disabled[name] = faults
	for _, f := range faults {
		if !slices.Contains(l.c.Faults, f) { // a directory's is there once
			l.c.Faults = append(l.c.Faults, f)
		}
	}
}

// merge sets the keys of all layers, one after the other.
func (l *loader) merge(name string, of *layers) (spec *Spec, masked bool, faults []Fault) {
	b := &builder{decoder: newDecoder(), keys: l.keys, trust: l.trust, mayRunAs: l.o.MayRunAs, path: cmp.Or(l.o.Path, DefaultPath)}
	if l.o.Zones != nil {
		b.zones = l.o.Zones
	}
	b.spec = l.bare.clone()
	b.spec.Name = name
	if of.function {
		b.spec, b.function = l.o.Functions.Spec(name), true
	}
	files := of.dropIns
	if of.base != "" {
		b.spec.Origin, files = of.base, append([]string{of.base}, of.dropIns...)
	}
	for _, path := range files {
		// One bad layer does not end the reading, so that one Load reports all
		// faults of all files.
		data, err := l.trust.read(path)
		if err != nil {
			faults = append(faults, fileFault(path, err))
			b.broken = true
			continue
		}
		if path == of.base && strings.TrimSpace(string(data)) == "" {
			return nil, true, faults
		}
		if path != of.base {
			b.spec.DropIns = append(b.spec.DropIns, path)
		}
		b.layer(&source{path: path, data: data})
	}
	faults = append(faults, b.finish()...)
	if len(faults) == 0 {
		l.c.Warnings = append(l.c.Warnings, b.warnings...)
	}
	return b.spec, false, faults
}
