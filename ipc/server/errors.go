package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"dispatchd/ipc"
)

// problem is an *ipc.Error as huma writes it.
type problem struct{ *cause }

// cause gives the embedded error another field name than its Error method's.
type cause = ipc.Error

// ContentType is huma.ContentTypeFilter's.
func (problem) ContentType(string) string { return "application/problem+json" }

// MarshalJSON writes the error as it is.
func (p problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.cause) }

// TransformSchema describes a problem as the *ipc.Error that it is on the wire.
func (problem) TransformSchema(r huma.Registry, _ *huma.Schema) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[ipc.Error]())
}

var errorsSet sync.Once

// setErrors makes huma's own errors problems of ours, once for the process:
// huma has one place for that.
func setErrors() {
	errorsSet.Do(func() {
		huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
			var details []string
			for _, err := range errs {
				if err != nil {
					details = append(details, detail(err))
				}
			}
			if len(details) > 0 {
				msg = strings.Join(details, "; ")
			}
			return problem{complete(ipc.Errorf(kindOf(status), "%s", msg))}
		}
	})
}

// detail words one fault that huma found in a request.
func detail(err error) string {
	d, ok := err.(huma.ErrorDetailer)
	if !ok {
		return err.Error()
	}
	e := d.ErrorDetail()
	if e.Value == nil || e.Value == "" {
		return e.Location + ": " + e.Message
	}
	return fmt.Sprintf("%s %.80q: %s", e.Location, fmt.Sprint(e.Value), e.Message)
}

// kindOf is the kind of an error that huma found.
func kindOf(status int) ipc.Kind {
	if status >= 500 {
		return ipc.KindInternal
	}
	return ipc.KindBadRequest
}

// defaultRetry is after how many seconds to ask again where nobody knows better.
const defaultRetry = 5

// complete fills in what follows from the kind. It works on a copy: the
// backend may give the same error to many.
func complete(e *ipc.Error) *ipc.Error {
	c := *e
	c.Type, c.Status = "/problems/"+string(c.Kind), c.Kind.Status()
	c.Title = http.StatusText(c.Status)
	if c.Status == ipc.KindDraining.Status() && c.RetryAfter == 0 {
		c.RetryAfter = defaultRetry
	}
	return &c
}

// typed makes an *ipc.Error of any error.
func typed(err error) *ipc.Error {
	if p, ok := errors.AsType[*ipc.Error](err); ok {
		return complete(p)
	}
	switch {
	case errors.Is(err, context.Canceled):
		p := ipc.Errorf(ipc.KindDraining, "the daemon is stopping")
		p.Suggestion = "ask again when it has started; use the same Idempotency-Key if you are not sure it was accepted"
		return complete(p)
	case errors.Is(err, context.DeadlineExceeded):
		return complete(ipc.Errorf(ipc.KindInternal, "the daemon did not answer in time"))
	}
	return complete(ipc.Errorf(ipc.KindInternal, "%s", strings.TrimSpace(err.Error())))
}

// toHuma gives an error to huma, with Retry-After where there is one.
func toHuma(err error) error {
	p := typed(err)
	if p.RetryAfter > 0 {
		return huma.ErrorWithHeaders(problem{p}, http.Header{"Retry-After": {strconv.Itoa(p.RetryAfter)}})
	}
	return problem{p}
}

// fail writes an error outside of huma.
func fail(w http.ResponseWriter, err error) {
	p := typed(err)
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
