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

// notifyIn is a notify on the wire. The body is read by hand: a duplicate name
// or what follows the value must not pass.
type notifyIn struct {
	NameInput
	WaitInput
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
	if err != nil {
		return err
	}
	if in.Bound && s.clientGone(ctx) {
		n.Job, err = s.backend.CancelIfAbandoned(calling, by, n.ID)
		if err != nil {
			return err
		}
		return writeNotified(w, http.StatusOK, n)
	}
	if !waits {
		return writeNotified(w, http.StatusAccepted, n)
	}
	waiting, cancel := withLimit(ctx, limit)
	defer cancel()
	if n.Job, err = s.backend.Await(waiting, by, n.ID); err != nil {
		return err
	}
	if n.State.Final() {
		n.Position = 0
		return writeNotified(w, http.StatusOK, n)
	}
	return writeNotified(w, http.StatusAccepted, n) // the wait ran out
}

// writeNotified answers a notify with its job.
func writeNotified(w http.ResponseWriter, status int, n ipc.Notified) error {
	w.Header().Set("Location", "/v1/jobs/"+n.ID)
	return writeJSON(w, status, n)
}

// checkKey bounds an idempotency key.
func checkKey(key string) error {
	if len(key) > maxKey {
		return ipc.Errorf(ipc.KindBadRequest, "Idempotency-Key has %d bytes, more than %d", len(key), maxKey)
	}
	return nil
}

// argumentsOf takes {"arguments": …} apart; an empty body has none.
func argumentsOf(raw []byte) (json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, nil
	}
	// As programs write it: what is between is one value, or it is not taken here.
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

// jobsIn selects jobs.
type jobsIn struct {
	Dispatcher string    `query:"dispatcher"`
	State      string    `query:"state" enum:"queued,running,succeeded,failed,timed_out,canceled,expired,interrupted"`
	Since      time.Time `query:"since" doc:"created at or after"`
	Limit      int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Before     string    `query:"before" doc:"the last id of the page before"`
}

func (s *Server) jobs(ctx context.Context, by ipc.Peer, in *jobsIn) ([]ipc.Job, error) {
	return nonNil(s.backend.Jobs(ctx, by, ipc.JobFilter{
		Dispatcher: in.Dispatcher, State: ipc.State(in.State), Since: in.Since, Limit: in.Limit, Before: in.Before,
	}))
}

// JobRef names a job by its id or a unique start of it.
type JobRef struct {
	ID string `path:"id" maxLength:"40"`
}

// waitJob names a job whose end may be waited for.
type waitJob struct {
	JobRef
	WaitInput
}

func (s *Server) job(ctx context.Context, by ipc.Peer, in *waitJob) (ipc.Job, error) {
	limit, waits, err := parseWait(in.Wait)
	if err != nil {
		return ipc.Job{}, err
	}
	if !waits {
		calling, done := s.ignoreHangup(ctx)
		defer done()
		return s.backend.Job(calling, by, in.ID)
	}
	waiting, cancel := withLimit(ctx, limit)
	defer cancel()
	return s.backend.Await(waiting, by, in.ID)
}

// waitBound waits for the end of a job for a caller whose life it is bound to. When
// the connection breaks before, the Backend decides whether the job is canceled.
// A daemon that goes down breaks connections too, and cancels nothing.
func (s *Server) waitBound(ctx context.Context, by ipc.Peer, in *JobRef) (ipc.Job, error) {
	calling, done := s.ignoreHangup(ctx)
	defer done()
	job, err := s.backend.Hold(calling, by, in.ID)
	if err != nil || job.State.Final() {
		return job, err
	}
	job, err = s.backend.Await(ctx, by, in.ID)
	if err != nil || !s.clientGone(ctx) {
		return job, err
	}
	calling, done = s.ignoreHangup(ctx) // anew: the wait may have been long
	defer done()
	return s.backend.CancelIfAbandoned(calling, by, in.ID)
}

// clientGone reports whether a request's client went away, and not the server.
func (s *Server) clientGone(ctx context.Context) bool { return ctx.Err() != nil && s.base.Err() == nil }

func (s *Server) cancelJob(ctx context.Context, by ipc.Peer, in *JobRef) (ipc.Job, error) {
	return s.backend.Cancel(ctx, by, in.ID)
}

// retryIn names a job to be asked for again.
type retryIn struct {
	JobRef
	Key string `header:"Idempotency-Key" doc:"the same key gives the same job; at most 128 bytes"`
}

func (s *Server) retry(ctx context.Context, by ipc.Peer, in *retryIn, w http.ResponseWriter) error {
	if err := checkKey(in.Key); err != nil {
		return err
	}
	calling, done := s.ignoreHangup(ctx)
	defer done()
	n, err := s.backend.Retry(calling, by, in.ID, in.Key)
	if err != nil {
		return err
	}
	return writeNotified(w, http.StatusAccepted, n)
}

// logIn asks for a job's output.
type logIn struct {
	JobRef
	Follow bool  `query:"follow" doc:"go on until the job has ended"`
	From   int64 `query:"from" minimum:"0" doc:"the byte to start at"`
}

// log streams a job's output as text.
func (s *Server) log(ctx context.Context, by ipc.Peer, in *logIn, w http.ResponseWriter) error {
	if !in.Follow {
		ctx = context.WithoutCancel(ctx)
	}
	src, err := s.backend.Log(ctx, by, in.ID, in.From, in.Follow)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !stream(w, src) || ctx.Err() != nil {
		// Not the output's end: the connection breaks off, so that the reader
		// does not take it for one. net/http's own way to do so.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// stream copies as the output comes, and reports whether it came to its end. A
// reader that does not read is cut off by the connection.
func stream(w http.ResponseWriter, src io.Reader) bool {
	control := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for control.Flush() == nil {
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return false
			}
		}
		if err != nil {
			return err == io.EOF
		}
	}
	return false
}
