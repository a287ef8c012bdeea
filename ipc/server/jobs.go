package server

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"dispatchd/ipc"
)

// jobsIn selects jobs.
type jobsIn struct {
	Dispatcher string    `query:"dispatcher"`
	State      []string  `query:"state" enum:"queued,running,succeeded,failed,timed_out,canceled,expired,interrupted" doc:"in one of these states; with commas between, or given several times"`
	Since      time.Time `query:"since" doc:"created at or after"`
	Limit      int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Before     string    `query:"before" doc:"the last id of the page before"`
	Fields     []string  `query:"fields" enum:"arguments,result,id,dispatcher,state,waiting_for,origin,notifiers,attempt,attempts,created_at,started_at,ended_at,exit_code,signal,error,progress,output,coalesced_count,omitted" doc:"what the jobs are to have beside what they always have: arguments and result, which are left out of a list unless they are asked for; with commas between"`
}

// pieceJobs is how many jobs of a list are asked of the Backend at a time: so many
// are in memory of each connection, whatever its client reads.
const pieceJobs = 50

// jobs lists jobs piece by piece.
func (s *Server) jobs(ctx context.Context, by ipc.Peer, in *jobsIn, give func(ipc.Job) error) error {
	if in.Before != "" && !isID(in.Before) {
		return ipc.Errorf(ipc.KindBadRequest, "before=%.40q: not the id of a job, which has 26 digits and capital letters", in.Before)
	}
	f := ipc.JobFilter{Dispatcher: in.Dispatcher, Since: in.Since, Before: in.Before, Fields: in.Fields}
	for _, state := range in.State {
		f.States = append(f.States, ipc.State(state))
	}
	if len(f.States) == 1 {
		f.State, f.States = f.States[0], nil
	}
	for left := in.Limit; left > 0; {
		f.Limit = min(left, pieceJobs)
		list, err := s.jobsPiece(ctx, by, f)
		if err != nil {
			return err
		}
		for _, job := range list {
			if err := give(job); err != nil {
				return err
			}
		}
		if len(list) == 0 || len(list) < f.Limit && !f.Wants("arguments") && !f.Wants("result") {
			return nil
		}
		left -= len(list)
		f.Before = list[len(list)-1].ID
	}
	return nil
}

// jobsPiece asks the Backend for a piece of a list.
func (s *Server) jobsPiece(ctx context.Context, by ipc.Peer, f ipc.JobFilter) ([]ipc.Job, error) {
	calling, done := s.ignoreHangup(ctx)
	defer done()
	return s.backend.Jobs(calling, by, f)
}

// isID reports whether a text is a ULID: Crockford's base 32, 128 bits.
func isID(text string) bool {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	return len(text) == 26 && text[0] <= '7' && !strings.ContainsFunc(strings.ToUpper(text), func(r rune) bool { return !strings.ContainsRune(digits, r) })
}

// FailInput asks for an error status where a job has failed.
type FailInput struct {
	Fail bool `query:"fail" doc:"answer with status 424 where the job has ended and not succeeded, so that curl -f fails"`
}

// status is that of an answer with a job, where it would be ok otherwise.
func (in FailInput) status(job ipc.Job, ok int) int {
	if in.Fail && job.State.Final() && job.State != ipc.Succeeded {
		return ipc.StatusJobFailed
	}
	return ok
}

// JobRef names a job by its id or a unique start of it.
type JobRef struct {
	ID string `path:"id" maxLength:"40"`
}

// waitJob names a job, and may ask to wait for its end.
type waitJob struct {
	JobRef
	WaitInput
	FailInput
}

func (s *Server) job(ctx context.Context, by ipc.Peer, in *waitJob, w http.ResponseWriter) error {
	limit, waits, err := parseWait(in.Wait)
	if err != nil {
		return err
	}
	var job ipc.Job
	if waits {
		job, err = s.await(ctx, by, in.ID, limit)
	} else {
		calling, done := s.ignoreHangup(ctx)
		defer done()
		job, err = s.backend.Job(calling, by, in.ID)
	}
	if err != nil {
		return err
	}
	return s.writeJSON(by, w, in.status(job, http.StatusOK), job, false)
}

// await waits for a job's end, at most this time; 0 = without limit.
func (s *Server) await(ctx context.Context, by ipc.Peer, id string, limit time.Duration) (ipc.Job, error) {
	ended, err := s.places.beginWait(ctx)
	if err != nil {
		return ipc.Job{}, err
	}
	defer ended()
	waiting, cancel := withLimit(ctx, limit)
	defer cancel()
	return s.backend.Await(waiting, by, id)
}

// waitBound waits for the end of a job whose life is bound to the caller's. When
// the caller goes away before, the Backend decides whether the job is canceled.
// A stop of the server breaks connections too, and cancels nothing.
func (s *Server) waitBound(ctx context.Context, by ipc.Peer, in *JobRef) (ipc.Job, error) {
	calling, done := s.ignoreHangup(ctx)
	defer done()
	job, err := s.backend.Hold(calling, by, in.ID)
	if err != nil || job.State.Final() {
		return job, err
	}
	job, err = s.await(ctx, by, in.ID, 0)
	if err != nil || !s.clientGone(ctx) {
		return job, err
	}
	calling, done = s.ignoreHangup(ctx) // another one: the first has run out in a long wait
	defer done()
	return s.backend.CancelIfAbandoned(calling, by, in.ID)
}

// clientGone reports whether a request's context ended because its client went
// away, and not because the server stops.
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
	return s.writeNotified(by, w, http.StatusAccepted, n)
}

// logIn asks for a job's output.
type logIn struct {
	JobRef
	Follow bool  `query:"follow" doc:"go on until the job has ended"`
	From   int64 `query:"from" minimum:"0" doc:"the byte to start at"`
}

// log streams a job's output as text.
func (s *Server) log(ctx context.Context, by ipc.Peer, in *logIn, w http.ResponseWriter) error {
	if in.Follow {
		ended, err := s.places.beginWait(ctx)
		if err != nil {
			return err
		}
		defer ended()
	} else {
		ctx = context.WithoutCancel(ctx)
	}
	closed, err := s.places.openFile(ctx)
	if err != nil {
		return err
	}
	defer closed()
	src, err := s.backend.Log(ctx, by, in.ID, in.From, in.Follow)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !stream(w, src) || ctx.Err() != nil {
		// This is not the output's end, so the connection breaks off and the
		// client sees a body without end. net/http has this panic for that.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// stream copies output as it comes, and reports whether it came to its end. The
// connection's write deadline ends it for a client that does not read.
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
