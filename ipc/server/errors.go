package server

import (
	"encoding/json"
	"errors"
	"net/http"
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

var errorsSet sync.Once

// setErrors makes huma's own errors problems of ours, once for the process.
func setErrors() {
	errorsSet.Do(func() {
		huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
			for _, err := range errs {
				if err != nil {
					msg += "; " + err.Error()
				}
			}
			return problem{complete(ipc.Errorf(kindOf(status), "%s", msg))}
		}
	})
}

// kindOf is the kind of an error that huma found.
func kindOf(status int) ipc.Kind {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return ipc.KindBodyTooLarge
	case http.StatusNotFound:
		return ipc.KindNotFound
	}
	if status >= 500 {
		return ipc.KindInternal
	}
	return ipc.KindBadRequest
}

// complete fills in what follows from the kind.
func complete(e *ipc.Error) *ipc.Error {
	e.Type, e.Status = "/problems/"+string(e.Kind), e.Kind.Status()
	e.Title = http.StatusText(e.Status)
	return e
}

// typed makes an *ipc.Error of any error.
func typed(err error) *ipc.Error {
	if p, ok := errors.AsType[*ipc.Error](err); ok {
		return complete(p)
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return complete(ipc.Errorf(ipc.KindBodyTooLarge, "the body is larger than %d bytes", large.Limit))
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
