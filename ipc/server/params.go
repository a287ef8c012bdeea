package server

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dispatchd/ipc"
)

// parameter is a tagged field of a route's input type. The tags are those that
// the description is made of (describe_test.go), so what is described is what
// is read: path, query or header with the name, then maxLength, minimum,
// maximum, enum and default.
type parameter struct {
	index     []int        // of the field
	kind      reflect.Kind // of the field; Struct is a time, Slice a list of strings
	in, name  string
	byDefault string
	minimum   *int64 // nil = none
	maximum   *int64
	maxLength int      // in characters, 0 = any
	enum      []string // nil = anything
}

// parameters are those of one input type, in its order.
type parameters struct {
	list []parameter
	body []int // index of the field for the request's body, nil = none
}

// parametersOf reads the tags of an input type, once.
func parametersOf(t reflect.Type) parameters {
	var ps parameters
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		if f.Name == "Body" {
			ps.body = f.Index
			continue
		}
		p := parameter{index: f.Index, kind: f.Type.Kind(), byDefault: f.Tag.Get("default")}
		for _, p.in = range []string{"path", "query", "header"} {
			if p.name = f.Tag.Get(p.in); p.name != "" {
				break
			}
		}
		p.minimum, p.maximum = boundOf(f.Tag.Get("minimum")), boundOf(f.Tag.Get("maximum"))
		if n := boundOf(f.Tag.Get("maxLength")); n != nil {
			p.maxLength = int(*n)
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			p.enum = strings.Split(enum, ",")
		}
		ps.list = append(ps.list, p)
	}
	return ps
}

// boundOf is a bound of a tag, nil = none.
func boundOf(tag string) *int64 {
	n, err := strconv.ParseInt(tag, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// read fills an input with a request's parameters. All that is wrong with them
// is one problem; what the route does not know is refused before the rest.
func (ps *parameters) read(r *http.Request, in reflect.Value) error {
	var query url.Values
	if r.URL.RawQuery != "" {
		query = r.URL.Query()
		if err := ps.known(query); err != nil {
			return err
		}
	}
	var wrong []string
	for i := range ps.list {
		p := &ps.list[i]
		if text := p.of(r, query); text != "" {
			wrong = p.set(in.FieldByIndex(p.index), text, wrong)
		}
	}
	if ps.body != nil {
		in.FieldByIndex(ps.body).SetBytes(bodyOf(r))
		r.Body = http.NoBody // the handler has it, for as long as it needs it
	}
	if len(wrong) > 0 {
		return ipc.Errorf(ipc.KindBadRequest, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// known refuses parameters of the query that the route does not have: a misspelt
// one would be ignored in silence otherwise. So would all but one of those that are
// given twice, where the parameter is no list.
func (ps *parameters) known(query url.Values) error {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		i := slices.IndexFunc(ps.list, func(p parameter) bool { return p.in == "query" && p.name == name })
		switch n := len(query[name]); {
		case i < 0:
			wrong = append(wrong, "query."+name+": unknown query parameter")
		case n > 1 && ps.list[i].kind != reflect.Slice:
			wrong = append(wrong, fmt.Sprintf("query: %.40q is given %d times", name, n))
		}
	}
	if len(wrong) > 0 {
		return ipc.Errorf(ipc.KindBadRequest, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// of is the parameter's text in a request, its default where there is none, ""
// where there is no default.
func (p *parameter) of(r *http.Request, query url.Values) string {
	var text string
	switch p.in {
	case "path":
		text = r.PathValue(p.name)
	case "query": // a list has commas between, or is given several times
		text = strings.Join(query[p.name], ",")
	case "header":
		text = r.Header.Get(p.name)
	}
	if text == "" {
		return p.byDefault
	}
	return text
}

// set puts a parameter into its field, or adds what is wrong with it.
func (p *parameter) set(field reflect.Value, text string, wrong []string) []string {
	complain := func(value any, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s.%s %.80q: %s", p.in, p.name, fmt.Sprint(value), fmt.Sprintf(format, args...)))
	}
	switch p.kind {
	case reflect.String:
		field.SetString(text)
		if p.maxLength > 0 && utf8.RuneCountInString(text) > p.maxLength {
			complain(text, "expected length <= %d", p.maxLength)
		}
		if p.enum != nil && !slices.Contains(p.enum, text) {
			complain(text, `expected value to be one of "%s"`, strings.Join(p.enum, ", "))
		}
	case reflect.Slice:
		list := strings.Split(text, ",")
		field.Set(reflect.ValueOf(list))
		for _, one := range list {
			if p.enum != nil && !slices.Contains(p.enum, one) {
				complain(one, `expected value to be one of "%s"`, strings.Join(p.enum, ", "))
				break // one says what may be
			}
		}
	case reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			complain(text, "invalid boolean")
		}
		field.SetBool(v)
	case reflect.Int, reflect.Int64:
		v, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			complain(text, "invalid integer")
		case p.minimum != nil && v < *p.minimum:
			complain(v, "expected number >= %d", *p.minimum)
		case p.maximum != nil && v > *p.maximum:
			complain(v, "expected number <= %d", *p.maximum)
		}
		field.SetInt(v)
	default:
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			complain(text, "invalid date/time for format %s", time.RFC3339Nano)
		}
		field.Set(reflect.ValueOf(at))
	}
	return wrong
}

// wholeBody is a request's body that the guard has read.
type wholeBody struct{ bytes []byte }

// Read is io.Reader's: nobody reads it piece by piece.
func (wholeBody) Read([]byte) (int, error) { return 0, io.EOF }

// Close is io.Closer's.
func (wholeBody) Close() error { return nil }

// bodyOf is the body that the guard has read, nil = none.
func bodyOf(r *http.Request) []byte {
	b, _ := r.Body.(wholeBody)
	return b.bytes
}
