package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"dispatchd/ipc"
)

// notifyIn is a notify on the wire. argumentsOf reads the body: encoding/json
// would take a name in any case, the last of two equal names, and whatever
// follows the value.
type notifyIn struct {
	NameInput
	WaitInput
	FailInput
	Bound bool   `query:"bound" doc:"cancel the job if the caller is gone when the answer comes; then hold it"`
	Key   string `header:"Idempotency-Key" doc:"the same key gives the same job; at most 128 bytes"`
	Body  []byte
}

// notify asks for a run, and waits for its end if it is asked to.
func (s *Server) notify(ctx context.Context, by ipc.Peer, in *notifyIn, w http.ResponseWriter) error {
	limit, waits, err := parseWait(in.Wait)
	if err != nil {
		return err
	}
	if err := checkKey(in.Key); err != nil {
		return err
	}
	args, err := argumentsOf(in.Body)
	if err != nil {
		return err
	}
	calling, done := s.ignoreHangup(ctx)
	defer done()
	n, err := s.backend.Notify(calling, by, ipc.NotifyRequest{Dispatcher: in.Name, Arguments: args, IdempotencyKey: in.Key})
	releaseBody(ctx) // a wait may be long
	in.Body = nil
	if err != nil {
		return err
	}
	if in.Bound && s.clientGone(ctx) {
		n.Job, err = s.backend.CancelIfAbandoned(calling, by, n.ID)
		if err != nil {
			return err
		}
		return s.writeNotified(by, w, in.status(n.Job, http.StatusOK), n)
	}
	if waits {
		n.Job = s.awaitAccepted(ctx, by, n.Job, limit)
	}
	if waits && n.State.Final() {
		n.Position = 0
		return s.writeNotified(by, w, in.status(n.Job, http.StatusOK), n)
	}
	return s.writeNotified(by, w, http.StatusAccepted, n)
}

// awaitAccepted waits for the end of a job that was accepted just now. Whatever
// ends the wait before (its time, the end of the client's input, a stop of the
// daemon, too many that wait) changes nothing in that: what is known of the job
// then is no error. A client that has closed its sending side, as nc and socat do,
// is answered at once: it is not known whether it can wait.
func (s *Server) awaitAccepted(ctx context.Context, by ipc.Peer, job ipc.Job, limit time.Duration) ipc.Job {
	ended, err := s.places.beginWait(ctx)
	if err != nil {
		return job
	}
	defer ended()
	waiting, cancel := withLimit(ctx, limit)
	defer cancel()
	waiting, leave := untilInputEnds(waiting)
	defer leave()
	if now, err := s.backend.Await(waiting, by, job.ID); err == nil {
		return now
	}
	return job
}

// writeNotified answers a notify with its job.
func (s *Server) writeNotified(by ipc.Peer, w http.ResponseWriter, status int, n ipc.Notified) error {
	w.Header().Set("Location", "/v1/jobs/"+n.ID)
	return s.writeJSON(by, w, status, n, true)
}

// checkKey refuses an idempotency key above maxKey bytes.
func checkKey(key string) error {
	if len(key) > maxKey {
		return ipc.Errorf(ipc.KindBadRequest, "Idempotency-Key has %d bytes, more than %d", len(key), maxKey)
	}
	return nil
}

// argumentsOf gives the value of {"arguments": …}, as it was written. An empty
// body has none.
func argumentsOf(raw []byte) (json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, nil
	}
	// As programs write it: where what is between is one JSON value, that is all of
	// it. Anything else is read token by token below.
	if inner, ok := bytes.CutPrefix(raw, []byte(`{"arguments":`)); ok {
		if inner, ok = bytes.CutSuffix(inner, []byte("}")); ok && json.Valid(inner) {
			return json.RawMessage(bytes.Clone(bytes.TrimSpace(inner))), nil
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	tok, err := dec.Token()
	if err != nil {
		return nil, ipc.Errorf(ipc.KindBadRequest, "the body is not JSON: %v", err)
	}
	if tok != json.Delim('{') {
		return nil, ipc.Errorf(ipc.KindBadRequest, `the body is not an object; send {"arguments": …}`)
	}
	var args json.RawMessage
	seen := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, ipc.Errorf(ipc.KindBadRequest, "the body is not JSON: %v", err)
		}
		if name != "arguments" || seen {
			return nil, ipc.Errorf(ipc.KindBadRequest, `the body has the name %.40q; only one "arguments" is allowed`, name)
		}
		seen = true
		if err := dec.Decode(&args); err != nil {
			return nil, ipc.Errorf(ipc.KindBadRequest, "the body is not JSON: %v", err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, ipc.Errorf(ipc.KindBadRequest, "the body is not JSON: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, ipc.Errorf(ipc.KindBadRequest, "something follows the body's object")
	}
	return args, nil
}
