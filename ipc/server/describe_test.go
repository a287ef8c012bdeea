package server

import (
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/go-cmp/cmp"

	"dispatchd/ipc"
)

// The description that the daemon serves is the route table's. Run the test with
// -update where a route, a parameter or a noun of the wire has changed.
func TestDescription(t *testing.T) {
	const file = "openapi.json"
	text, err := json.Marshal(describe(routes()))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var want, got any
	if err := json.Unmarshal([]byte(description), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not what the route table says; write it anew with -update (-file +table):\n%s", file, diff)
	}
}

const problemRef = "#/components/responses/Problem"

// describe makes the OpenAPI description of the rows: parameters of the tags of
// their input types, schemas of the types of their answers.
func describe(table []route) *huma.OpenAPI {
	config := huma.DefaultConfig("dispatchd", "VERSION")
	config.DocsPath, config.SchemasPath, config.OpenAPIPath, config.CreateHooks = "", "", "", nil
	config.AllowAdditionalPropertiesByDefault = true // fields are added
	config.Info.Description = "Runs the slow operations of an appliance in the background, one at a time."
	doc := humago.New(http.NewServeMux(), config).OpenAPI()
	for _, r := range table {
		doc.AddOperation(operation(r, doc.Components.Schemas))
	}
	doc.Components.Responses = map[string]*huma.Response{"Problem": problem(doc.Components.Schemas)}
	doc.Servers = []*huma.Server{{URL: "http://localhost", Description: "over the Unix socket only"}}
	for _, s := range doc.Components.Schemas.Map() {
		for _, p := range s.Properties {
			notNull(p)
		}
	}
	return doc
}

// operation describes one row.
func operation(r route, schemas huma.Registry) *huma.Operation {
	answer := &huma.Response{Description: http.StatusText(r.status)}
	o := &huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, DefaultStatus: r.status,
		Extensions: map[string]any{"x-access": r.verb.level()},
		Responses:  map[string]*huma.Response{strconv.Itoa(r.status): answer, "default": {Ref: problemRef}},
	}
	for _, f := range reflect.VisibleFields(r.in) {
		for _, in := range []string{"path", "query", "header"} {
			if name := f.Tag.Get(in); name != "" {
				o.Parameters = append(o.Parameters, parameterOf(schemas, f, in, name))
			}
		}
	}
	if r.out != nil {
		answer.Content = jsonContent(schemas.Schema(r.out, true, ""))
	}
	special(o, answer, schemas)
	for _, a := range o.Responses {
		for _, m := range a.Content {
			notNull(m.Schema)
		}
	}
	return o
}

// parameterOf describes a tagged field.
func parameterOf(schemas huma.Registry, f reflect.StructField, in, name string) *huma.Param {
	schema := huma.SchemaFromField(schemas, f, "")
	notNull(schema)
	p := &huma.Param{Name: name, In: in, Required: in == "path", Schema: schema, Description: schema.Description}
	if in == "query" {
		p.Explode = new(false)
	}
	return p
}

// special adds what the types of a few routes do not say.
func special(o *huma.Operation, answer *huma.Response, schemas huma.Registry) {
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	switch o.OperationID {
	case "notify":
		o.RequestBody = &huma.RequestBody{
			Description: "no body = no arguments; at most 1 MiB",
			Content: jsonContent(&huma.Schema{
				Type: huma.TypeObject, AdditionalProperties: false,
				Properties: map[string]*huma.Schema{"arguments": {Description: "any JSON value: the job's arguments"}},
			}),
		}
		notified(answer, schemas)
		ended := *answer
		ended.Description = "The job has ended, as it was waited for"
		o.Responses["200"] = &ended
		answer.Description = "Accepted, and durable; or the wait ran out before the job's end"
	case "retry":
		notified(answer, schemas)
		answer.Description = "Accepted, and durable"
	case "log":
		answer.Content = map[string]*huma.MediaType{"text/plain": text}
		answer.Description = "The output. Where it is followed, it ends with the job; a connection that breaks off before is not the end"
	case "job":
		answer.Content = jsonContent(schemas.Schema(reflect.TypeFor[ipc.Job](), true, ""))
		failed := *answer
		failed.Description = "The job has ended and not succeeded, and fail asked for an error then"
		o.Responses[strconv.Itoa(ipc.StatusJobFailed)] = &failed
	case "cache", "refresh":
		answer.Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}, "text/plain": text}
		answer.Description = "The data, whole. " + ipc.CacheHeader + " says whether it is fresh or stale, Age its seconds, " + ipc.CacheErrorHeader + " why the last refresh failed, " + ipc.CacheJobHeader + " which job refreshes it now"
		o.Responses["304"] = &huma.Response{Description: "The data is what If-None-Match names"}
	case "openapi":
		answer.Content = map[string]*huma.MediaType{"application/openapi+json": {Schema: &huma.Schema{Type: huma.TypeObject}}}
	}
}

// notified describes the answer to a notify.
func notified(answer *huma.Response, schemas huma.Registry) {
	answer.Content = jsonContent(schemas.Schema(reflect.TypeFor[ipc.Notified](), true, ""))
	answer.Headers = map[string]*huma.Header{"Location": {Schema: &huma.Schema{Type: huma.TypeString}}}
}

// problem describes every error.
func problem(schemas huma.Registry) *huma.Response {
	kinds := make([]any, 0, len(ipc.Kinds()))
	for _, k := range ipc.Kinds() {
		kinds = append(kinds, string(k))
	}
	type Problem ipc.Error // a schema has its type's name
	schemas.Schema(reflect.TypeFor[Problem](), true, "")
	for _, name := range []string{"Problem", "JobError"} {
		schemas.Map()[name].Properties["kind"].Enum = kinds
	}
	return &huma.Response{
		Description: "An error. Its status follows from its kind; kinds may be added",
		Headers: map[string]*huma.Header{"Retry-After": {
			Description: "seconds after which to ask again; always there with 503",
			Schema:      &huma.Schema{Type: huma.TypeInteger},
		}},
		Content: map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}},
	}
}

// jsonContent is a body of JSON.
func jsonContent(s *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: s}}
}

// notNull takes the null away that huma gives to every list: an empty one is [].
func notNull(s *huma.Schema) { s.Nullable = s.Nullable && s.Type != huma.TypeArray }
