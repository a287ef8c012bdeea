package dispatchers

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Bounds on what one file can cost.
const (
	maxFile   = 256 << 10
	maxFaults = 100
	maxPath   = 200
	maxKeys   = 4000 // the library compares every key with all before it
)

// value is one value of a TOML file together with its place. go-toml's decoder
// gives places only of values that it refuses itself.
type value struct {
	src    *source
	at     int    // where the value stands
	keyAt  int    // where its key stands
	path   string // dotted, for people
	name   string // the last part of its key
	kind   unstable.Kind
	text   string // of a string; of others as it was written
	items  []*value
	fields []*value
	names  map[string]*value // fields by their last part
	header bool              // a table that had its own [header]
}

// document is a file as a tree, with the faults of its form. After a fault of
// syntax the tree holds the values before it.
type document struct {
	src    *source
	root   *value
	faults []Fault
	broken bool // the file cannot be read to its end

	keys    int  // how many were set so far
	checked bool // the faults are the library's own, about values
}

// parseTOML never fails: the document has the faults.
func parseTOML(src *source) *document {
	// TOML lets a reader take a line end of CR LF for LF, in strings of several lines
	// too: a script with CR LF would run "cd /\r". No place moves but the line ends'.
	src.data = bytes.ReplaceAll(src.data, []byte("\r\n"), []byte("\n"))
	d := &document{src: src, root: newTable(src, "", 0)}
	text := d.readable()
	if d.broken {
		return d
	}
	// The unstable parser gives places, and goes on after a fault of ours. The
	// stable decoder stops at its first fault.
	p := &unstable.Parser{}
	p.Reset(text)
	current := d.root
	for p.NextExpression() {
		switch expr := p.Expression(); expr.Kind {
		case unstable.Table:
			current = d.openTable(expr, false)
		case unstable.ArrayTable:
			current = d.openTable(expr, true)
		case unstable.KeyValue:
			d.assign(p, current, expr)
		}
		if d.keys > maxKeys {
			d.broken = true
			d.faults = append(d.faults, Fault{File: src.path, Message: fmt.Sprintf("has more than %d keys", maxKeys)})
			return d
		}
	}
	var perr *unstable.ParserError
	if errors.As(p.Error(), &perr) {
		d.broken = true
		d.faults = append(d.faults, src.syntax(cap(text)-cap(perr.Highlight), perr.Message))
	} else if len(d.faults) == 0 {
		d.crossCheck()
	}
	return d
}

// crossCheck lets the library's own decoder judge the whole file. It knows
// rules that the tree does not, such as the days of a month.
func (d *document) crossCheck() {
	var all map[string]any
	err := toml.Unmarshal(d.src.data, &all)
	if err == nil {
		return
	}
	d.broken, d.checked = true, true
	var derr *toml.DecodeError
	if !errors.As(err, &derr) {
		d.faults = append(d.faults, d.src.fault(0, "", "%s", err))
		return
	}
	row, column := derr.Position()
	message := strings.TrimPrefix(derr.Error(), "toml: ")
	d.faults = append(d.faults, d.src.fault(offsetOf(d.src.data, row, column), strings.Join(derr.Key(), "."), "TOML: %s", message))
}

// offsetOf turns row and byte column into an offset.
func offsetOf(data []byte, row, column int) int {
	off := 0
	for ; row > 1 && off < len(data); off++ {
		if data[off] == '\n' {
			row--
		}
	}
	return min(off+max(column, 1)-1, len(data))
}

// newTable makes an empty table.
func newTable(src *source, path string, at int) *value {
	return &value{src: src, at: at, keyAt: at, path: path, kind: unstable.Table, names: map[string]*value{}}
}

// part is one part of a dotted key.
type part struct {
	name string
	at   int
	end  int
}

// parts lists the parts of an expression's key.
func parts(it unstable.Iterator) []part {
	var list []part
	for it.Next() {
		n := it.Node()
		list = append(list, part{string(n.Data), int(n.Raw.Offset), int(n.Raw.Offset + n.Raw.Length)})
	}
	return list
}

// isBare reports whether a key needs no quotes.
func isBare(key string) bool { return matches(key, "a0_-", "a0_-", len(key)) }

// join makes the dotted path of a key below another.
func join(path, name string) string {
	name = clip(name)
	if !isBare(name) {
		name = strconv.Quote(name)
	}
	switch {
	case path == "":
		return name
	case len(path) > maxPath:
		return path // hostile nesting must not cost the square of its depth
	}
	return path + "." + name
}

// element makes the path of an element of a list.
func element(path string, i int) string {
	if len(path) > maxPath {
		return path
	}
	return fmt.Sprintf("%s[%d]", path, i)
}

// enter finds or makes the table of one part of a key. Where that part is a value
// already, it reports the fault and gives a table that no row reads.
func (d *document) enter(t *value, p part) *value {
	v := t.names[p.name]
	if v == nil {
		v = newTable(d.src, join(t.path, p.name), p.at)
		t.add(p.name, v)
		return v
	}
	// TOML: below [[a]], a key of a is one of a's last element.
	if n := len(v.items); v.kind == unstable.Array && n > 0 && v.items[n-1].kind == unstable.Table {
		return v.items[n-1]
	}
	if v.kind != unstable.Table {
		d.duplicateKey(v, p)
		return newTable(d.src, v.path, p.at)
	}
	return v
}

// duplicateKey reports a key that is set again.
func (d *document) duplicateKey(was *value, p part) {
	if len(d.faults) >= maxFaults {
		return
	}
	first := d.src.fault(was.keyAt, "", "")
	d.faults = append(d.faults, d.src.fault(p.at, was.path, "is set twice, first in line %d", first.Row))
}

// add puts a field into a table.
func (v *value) add(name string, field *value) {
	field.name, v.names[name] = name, field
	v.fields = append(v.fields, field)
}

// openTable handles [a.b] and [[a.b]].
func (d *document) openTable(expr *unstable.Node, array bool) *value {
	keys := parts(expr.Key())
	d.keys += len(keys)
	t := d.root
	for _, k := range keys[:len(keys)-1] {
		t = d.enter(t, k)
	}
	last := keys[len(keys)-1]
	was := t.names[last.name]
	switch {
	case array:
		return d.openArray(t, was, last)
	case was != nil && (was.header || was.kind != unstable.Table):
		d.duplicateKey(was, last)
		return newTable(d.src, was.path, last.at)
	}
	t = d.enter(t, last)
	t.header = true
	return t
}

// openArray adds one table to an array of tables.
func (d *document) openArray(t, was *value, p part) *value {
	item := newTable(d.src, join(t.path, p.name), p.at)
	switch {
	case was == nil:
		t.add(p.name, &value{src: d.src, at: p.at, keyAt: p.at, path: item.path, kind: unstable.Array, items: []*value{item}})
	case was.kind == unstable.Array:
		was.items = append(was.items, item)
	default:
		d.duplicateKey(was, p)
	}
	return item
}

// assign handles key = value, in a table or an inline table.
func (d *document) assign(p *unstable.Parser, t *value, expr *unstable.Node) {
	keys := parts(expr.Key())
	d.keys += len(keys)
	last := keys[len(keys)-1]
	for _, k := range keys[:len(keys)-1] {
		t = d.enter(t, k)
	}
	if was := t.names[last.name]; was != nil {
		d.duplicateKey(was, last)
		return
	}
	// The library gives no place for arrays: use the one after the equals sign.
	at := last.end
	for at < len(d.src.data) && strings.IndexByte(" \t=", d.src.data[at]) >= 0 {
		at++
	}
	v := d.build(p, expr.Value(), join(t.path, last.name), at)
	v.keyAt = last.at
	t.add(last.name, v)
}

// build copies a node into a value: the library reuses its nodes.
func (d *document) build(p *unstable.Parser, n *unstable.Node, path string, at int) *value {
	v := &value{src: d.src, at: at, keyAt: at, path: path, kind: n.Kind, text: string(n.Data)}
	// A list inside a list has no place of its own: use the outer one's.
	if n.Raw.Length > 0 {
		v.at = int(n.Raw.Offset)
	}
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			v.items = append(v.items, d.build(p, it.Node(), element(path, len(v.items)), at))
		}
	case unstable.InlineTable:
		v.kind, v.names, v.header = unstable.Table, map[string]*value{}, true
		for it := n.Children(); it.Next(); {
			d.assign(p, v, it.Node())
		}
	}
	return v
}

// integer reads a TOML integer; false when it does not fit.
func (v *value) integer() (int64, bool) {
	n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
	return n, err == nil
}

// kindName names the type of a value for people.
func (v *value) kindName() string {
	switch v.kind {
	case unstable.String:
		return "a string"
	case unstable.Bool:
		return "a boolean"
	case unstable.Float:
		return "a number with a fraction"
	case unstable.Integer:
		return "an integer"
	case unstable.Array:
		return "a list"
	case unstable.Table, unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}
