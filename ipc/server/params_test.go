package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"dispatchd/ipc"
)

// Every field of every input is read: it has one place in a request, a type that
// set knows, and tags that mean something.
func TestEveryParameterIsKnown(t *testing.T) {
	for _, r := range routes() {
		n := 0
		for _, f := range reflect.VisibleFields(r.in) {
			if f.Anonymous || f.Name == "Body" && f.Type == reflect.TypeFor[[]byte]() {
				continue
			}
			n++
			places := 0
			for _, in := range []string{"path", "query", "header"} {
				if _, ok := f.Tag.Lookup(in); ok {
					places++
				}
			}
			if places != 1 {
				t.Errorf("%s: %s is in %d places of a request", r.id, f.Name, places)
			}
			switch f.Type.Kind() {
			case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
			default:
				if f.Type != reflect.TypeFor[time.Time]() && f.Type != reflect.TypeFor[[]string]() {
					t.Errorf("%s: %s is a %s, which no parameter may be", r.id, f.Name, f.Type)
				}
			}
			for _, tag := range []string{"minimum", "maximum", "maxLength"} {
				if text, ok := f.Tag.Lookup(tag); ok && boundOf(text) == nil {
					t.Errorf("%s: %s has %s %q", r.id, f.Name, tag, text)
				}
			}
		}
		if got := len(parametersOf(r.in).list); got != n {
			t.Errorf("%s: %d parameters are read, there are %d", r.id, got, n)
		}
		if strings.Count(r.path, "{") != strings.Count(describedPath(r), "{") {
			t.Errorf("%s: the path %s has other parameters than its input", r.id, r.path)
		}
	}
}

// The states that a client may ask for are those that there are: a tag cannot
// be made of them.
func TestStatesAreTheWires(t *testing.T) {
	f, _ := reflect.TypeFor[jobsIn]().FieldByName("State")
	var want []string
	for _, s := range ipc.States() {
		want = append(want, string(s))
	}
	if got := f.Tag.Get("enum"); got != strings.Join(want, ",") {
		t.Errorf("state may be %s, the states are %v", got, want)
	}
}

// describedPath lists the path parameters of a row's input.
func describedPath(r route) string {
	var names strings.Builder
	for _, p := range parametersOf(r.in).list {
		if p.in == "path" {
			names.WriteString("{" + p.name + "}")
		}
	}
	return names.String()
}

// everything has a parameter of each sort.
type everything struct {
	Name  string    `path:"name" maxLength:"5"`
	Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	From  int64     `query:"from" minimum:"0"`
	On    bool      `query:"on"`
	State string    `query:"state" enum:"queued,running"`
	Since time.Time `query:"since"`
	Key   string    `header:"Idempotency-Key"`
}

// A parameter is read as the library reads it that describes it: what one
// takes, the other takes for the same, and what one refuses, the other does.
func FuzzParameters(f *testing.F) {
	for _, name := range []string{"limit", "from", "bound", "state", "since", "x"} {
		for _, v := range values(name) {
			if text, err := url.QueryUnescape(v); err == nil {
				f.Add(text)
			}
		}
	}
	list := parametersOf(reflect.TypeFor[everything]())
	theirs := http.NewServeMux()
	config := huma.DefaultConfig("", "")
	config.DocsPath, config.SchemasPath, config.OpenAPIPath, config.CreateHooks = "", "", "", nil
	api := humago.New(theirs, config)
	var said string
	huma.NewError = func(status int, _ string, errs ...error) huma.StatusError { // the library has one for the process
		said = complaints(errs)
		return &huma.ErrorModel{Status: status}
	}
	var want *everything
	huma.Register(api, huma.Operation{OperationID: "x", Method: "GET", Path: "/{name}"}, func(_ context.Context, in *everything) (*struct{}, error) {
		want = in
		return nil, nil
	})
	f.Fuzz(func(t *testing.T, text string) {
		q := url.QueryEscape(text)
		for _, query := range []string{"", "limit=" + q, "from=" + q, "on=" + q, "state=" + q, "since=" + q, "state=" + q + "&limit=" + q + "&from=" + q} {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/x?"+query, http.NoBody)
			r.Header.Set("Idempotency-Key", text)
			want = nil
			rec := httptest.NewRecorder()
			theirs.ServeHTTP(rec, r)
			var in everything
			r.SetPathValue("name", "x")
			err := list.read(r, reflect.ValueOf(&in).Elem())
			switch {
			case (err == nil) != (want != nil):
				t.Errorf("%s: %v, the other says %d %s", query, err, rec.Code, rec.Body)
			case err != nil:
				wantKind(t, err, ipc.KindBadRequest)
				if err.Error() != said {
					t.Errorf("%s: %q, the other says %q", query, err, said)
				}
			case in != *want && !in.Since.Equal(want.Since):
				t.Errorf("%s: %+v, the other reads %+v", query, in, *want)
			}
		}
	})
}

// complaints words what the library found as ours is worded.
func complaints(errs []error) string {
	var all []string
	for _, err := range errs {
		var e huma.ErrorDetail
		if d, ok := err.(huma.ErrorDetailer); ok {
			e = *d.ErrorDetail()
		}
		all = append(all, fmt.Sprintf("%s %.80q: %s", e.Location, fmt.Sprint(e.Value), e.Message))
	}
	return strings.Join(all, "; ")
}
