package server

import (
	"context"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"dispatchd/ipc"
)

const problemRef = "#/components/responses/Problem"

// openapi gives the description of the API.
func (s *Server) openapi(context.Context, ipc.Peer, *none) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(s.spec)
	}}, nil
}

// document adds to one operation what its types do not say.
func document(o huma.Operation) {
	text := func(kind string) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{kind: {Schema: &huma.Schema{Type: huma.TypeString}}}
	}
	switch o.OperationID {
	case "notify":
		o.RequestBody.Required = false // huma makes every raw body required
		o.RequestBody.Description = "no body = no arguments; at most 1 MiB"
		o.RequestBody.Content["application/json"].Schema = &huma.Schema{
			Type: huma.TypeObject, AdditionalProperties: false,
			Properties: map[string]*huma.Schema{"arguments": {Description: "any JSON value: the job's arguments"}},
		}
		ended := *o.Responses["202"]
		ended.Description = "The job has ended, as it was waited for"
		o.Responses["200"] = &ended
		o.Responses["202"].Description = "Accepted, and durable; or the wait ran out before the job's end"
	case "retry":
		o.Responses["202"].Description = "Accepted, and durable"
	case "log":
		o.Responses["200"].Content = text("text/plain")
		o.Responses["200"].Description = "The output. Where it is followed, it ends with the job; a connection that breaks off before is not the end"
	case "cache":
		o.Responses["200"].Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}}
		o.Responses["200"].Content["text/plain"] = text("text/plain")["text/plain"]
		o.Responses["200"].Description = "The data, whole. " + ipc.CacheHeader + " says whether it is fresh or stale, Age its seconds, " + ipc.CacheErrorHeader + " why the last refresh failed, " + ipc.CacheJobHeader + " which job refreshes it now"
		o.Responses["304"] = &huma.Response{Description: "The data is what If-None-Match names"}
	case "openapi":
		o.Responses["200"].Content = map[string]*huma.MediaType{
			"application/openapi+json": {Schema: &huma.Schema{Type: huma.TypeObject}},
		}
	}
	for _, r := range o.Responses {
		for _, m := range r.Content {
			notNull(m.Schema)
		}
	}
	o.Responses["default"] = &huma.Response{Ref: problemRef}
}

// describe finishes the description and writes it.
func describe(doc *huma.OpenAPI) []byte {
	schemas := doc.Components.Schemas.Map()
	for _, s := range schemas {
		for _, p := range s.Properties {
			notNull(p)
		}
	}
	kinds := make([]any, 0, len(ipc.Kinds()))
	for _, k := range ipc.Kinds() {
		kinds = append(kinds, string(k))
	}
	for _, name := range []string{"Problem", "JobError"} {
		schemas[name].Properties["kind"].Enum = kinds
	}
	doc.Components.Responses = map[string]*huma.Response{"Problem": {
		Description: "An error. Its status follows from its kind; kinds may be added",
		Headers: map[string]*huma.Header{"Retry-After": {
			Description: "seconds after which to ask again; always there with 503",
			Schema:      &huma.Schema{Type: huma.TypeInteger},
		}},
		Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}},
		},
	}}
	doc.Servers = []*huma.Server{{URL: "http://localhost", Description: "over the Unix socket only"}}
	text, err := json.Marshal(doc)
	if err != nil {
		panic("openapi: " + err.Error()) // a type that is no JSON: a test sees it
	}
	return text
}

// notNull takes the null away that huma gives to every list: an empty one is
// [].
func notNull(s *huma.Schema) { s.Nullable = s.Nullable && s.Type != huma.TypeArray }

// forget drops what the description was made of, a quarter MiB that nobody reads
// again: requests are checked by the schemas of their parameters, which stay.
func forget(doc *huma.OpenAPI) {
	for _, item := range doc.Paths {
		for _, o := range []*huma.Operation{item.Get, item.Post} {
			if o != nil {
				o.Responses = nil
			}
		}
	}
	doc.Paths = nil
	clear(doc.Components.Schemas.Map())
}
