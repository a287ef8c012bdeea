package dispatchers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// key is the row of one key: all that the package knows of it. S is what the
// key's file describes, Spec or Settings. Decoding and the merge of layers, the
// default, the search for a key that was meant, the schema and the definition
// follow from the rows; the manual page is held against them.
type key[S any] struct {
	name string // dotted: "retry.backoff"; the table "retry" has a row, too
	field[S]
	deflt string // as a file would say it; "" = there is none, or other keys decide
	doc   string // one sentence; the schema's description
	since stage
}

// stage says which version brings what a key does.
type stage uint8

const (
	now   stage = iota
	later       // its value is checked and then refused: nothing is ignored silently
)

// field reads the value of a key, gives it back and describes it. The row of a
// table has nothing but a decode, and that only to prepare s for the keys inside.
type field[S any] struct {
	decode func(d *decoder, v *value, s *S) // sets the value, or reports its fault
	value  func(s *S) any                   // as a file would say it; nil = left out of the definition
	schema func() Schema                    // what decode takes
}

// keys are the rows of a file, each table before what is inside.
type keys[S any] []key[S]

// find gives the row of a dotted name, nil for none.
func (k keys[S]) find(name string) *key[S] {
	for i := range k {
		if k[i].name == name {
			return &k[i]
		}
	}
	return nil
}

// inside lists the names of the keys in a table, sorted; "" is the top level.
func (k keys[S]) inside(table string) []string {
	var names []string
	for i := range k {
		if in, name := tableOf(k[i].name); in == table {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// isTable reports whether a row is that of a table with rows of its own.
func (k keys[S]) isTable(row *key[S]) bool {
	return row.value == nil && slices.ContainsFunc(k, func(r key[S]) bool {
		table, _ := tableOf(r.name)
		return table == row.name
	})
}

// tableOf splits a dotted name: the table, "" for the top level, and the name
// in it.
func tableOf(name string) (table, last string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// supported reports whether this version knows what a key does.
func (k keys[S]) supported(row *key[S]) bool {
	if table, _ := tableOf(row.name); table != "" && k.find(table).since != now {
		return false
	}
	return row.since == now
}

// decode sets the keys of a file, one layer, over those before it.
func (k keys[S]) decode(d *decoder, root *value, s *S) {
	d.top = k.inside("")
	k.table(d, root, "", s)
}

// table gives each field of a table to its row, and reports unknown ones.
func (k keys[S]) table(d *decoder, t *value, name string, s *S) {
	if !d.is(t, unstable.Table, "a table") {
		return
	}
	for _, v := range t.fields {
		row := k.find(join(name, v.name))
		switch {
		case row != nil:
			// Keys that contradict each other are reported where the last layer
			// sets one of them.
			d.seen[v.path] = v
			k.set(d, row, v, s)
		case len(d.faults) >= maxFaults:
			d.count++ // the search for a nearest key is not free
		default:
			d.report(v, v.keyAt, k.suggest(name, v.name), "unknown key")
		}
	}
}

// set decodes the value of one row.
func (k keys[S]) set(d *decoder, row *key[S], v *value, s *S) {
	before := d.count
	if row.decode != nil {
		row.decode(d, v, s)
	}
	if k.isTable(row) {
		k.table(d, v, row.name, s)
	}
	// A bad value is reported first: it stays bad in the version to come.
	if row.since == later && d.count == before {
		d.report(v, v.keyAt, "take it out until a later version brings it", "is not supported yet")
	}
}

// suggest names the key that was meant by an unknown one in a table: the same
// word elsewhere first, since a line below a [table] belongs to the table, then
// the nearest word of this table.
func (k keys[S]) suggest(table, name string) string {
	if table != "" && slices.Contains(k.inside(""), name) {
		return misplaced(name)
	}
	for i := range k {
		if in, last := tableOf(k[i].name); table == "" && in != "" && last == name && k.supported(&k[i]) {
			return fmt.Sprintf("did you mean %s?", k[i].name)
		}
	}
	return suggest(name, k.inside(table))
}

// misplaced words the suggestion for a top-level key inside a table.
func misplaced(name string) string {
	return fmt.Sprintf("did you mean the top-level key %s? It stands above the first [table]", name)
}

// setDefaults decodes the defaults of one table's keys, or with "" those of the
// whole file. A table that a file opens by naming it, as [cache], has its
// defaults only then.
func (k keys[S]) setDefaults(s *S, only string) {
	var text strings.Builder
	for _, row := range k {
		table, _ := tableOf(row.name)
		opened := table != "" && k.find(table).decode != nil
		if row.deflt != "" && (table == only || only == "" && !opened) {
			text.WriteString(row.name + " = " + row.deflt + "\n")
		}
	}
	// A bad default is a fault of this program, which TestDefaultsAreGood finds.
	k.decode(newDecoder(), parseTOML(&source{path: "defaults", data: []byte(text.String())}).root, s)
}

// values gives every key that is in force, named as in the file and with values
// that the file would take.
func (k keys[S]) values(s *S) map[string]any {
	all := map[string]any{}
	for i := range k {
		row := &k[i]
		if row.value == nil || !k.supported(row) {
			continue
		}
		v := row.value(s)
		if v == nil {
			continue
		}
		table, name := tableOf(row.name)
		m := all
		if table != "" {
			if all[table] == nil {
				all[table] = map[string]any{}
			}
			m, _ = all[table].(map[string]any)
		}
		m[name] = v
	}
	return all
}
