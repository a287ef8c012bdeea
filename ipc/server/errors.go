package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"dispatchd/ipc"
)

// defaultRetry is Retry-After in seconds where the Backend gives no estimate.
const defaultRetry = 5

// complete fills in what follows from the kind. It works on a copy, for the
// Backend may give the same error to many requests.
func complete(e *ipc.Error) *ipc.Error {
	c := *e
	c.Type, c.Status = "/problems/"+string(c.Kind), c.Kind.Status()
	c.Title = http.StatusText(c.Status)
	if c.Status == ipc.KindDraining.Status() && c.RetryAfter == 0 {
		c.RetryAfter = defaultRetry
	}
	return &c
}

// asError makes an *ipc.Error of any error. A canceled context means that the
// server stops: explainHangup has worded a client's hang-up before.
func asError(err error) *ipc.Error {
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

// writeError answers with a problem.
func writeError(w http.ResponseWriter, err error) {
	p := asError(err)
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
