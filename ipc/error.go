package ipc

import (
	"fmt"
	"strings"
)

// Kind names a sort of error for programs. It is the last part of the problem's
// type on the wire (RFC 9457) and never changes its meaning.
type Kind string

// The kinds of errors.
const (
	KindDispatcherUnknown   Kind = "dispatcher_unknown"
	KindJobUnknown          Kind = "job_unknown"
	KindJobAmbiguous        Kind = "job_ambiguous" // an id prefix that fits several jobs
	KindQueueFull           Kind = "queue_full"
	KindArgumentsFull       Kind = "arguments_full"   // the arguments of outstanding jobs take all the room there is
	KindKeysFull            Kind = "keys_full"        // so many idempotency keys are kept already
	KindTooManyReaders      Kind = "too_many_readers" // answers that nobody reads take all the room there is
	KindDraining            Kind = "draining"
	KindPackageMissing      Kind = "package_missing"
	KindIncludeMissing      Kind = "include_missing"
	KindDispatcherDisabled  Kind = "dispatcher_disabled"
	KindArgumentsInvalid    Kind = "arguments_invalid"
	KindBodyTooLarge        Kind = "body_too_large"
	KindHeaderTooLarge      Kind = "header_too_large"
	KindUnsupportedMedia    Kind = "unsupported_media_type" // of a request's body
	KindRequestTimeout      Kind = "request_timeout"        // the request came too slowly
	KindForbidden           Kind = "forbidden"
	KindIdempotencyConflict Kind = "idempotency_conflict"
	KindStateConflict       Kind = "state_conflict" // such as cancel of an ended job
	KindJournalUnavailable  Kind = "journal_unavailable"
	KindBadRequest          Kind = "bad_request"
	KindNotFound            Kind = "not_found"
	KindMethodNotAllowed    Kind = "method_not_allowed"
	KindNotSupported        Kind = "not_supported" // what a later version brings
	KindTooManyConnections  Kind = "too_many_connections"
	KindUnavailable         Kind = "unavailable" // no daemon is there; a client alone says it
	KindNoAnswer            Kind = "no_answer"   // a daemon is there and does not answer in time; a client alone says it
	KindVersionMismatch     Kind = "version_mismatch"
	KindConfiguration       Kind = "configuration"
	KindLocked              Kind = "locked" // another process or job holds a lock
	KindUsage               Kind = "usage"
	KindUpgradeFailed       Kind = "upgrade_failed"
	KindCacheUnknown        Kind = "cache_unknown"
	KindCacheEmpty          Kind = "cache_empty" // no refresh has succeeded yet
	KindCacheStale          Kind = "cache_stale" // older than what was asked for
	KindInternal            Kind = "internal"

	// Kinds that only a job's error has.
	KindStartFailed Kind = "start_failed"
	KindExitStatus  Kind = "exit_status"
	KindSignaled    Kind = "signaled"
	KindTimeout     Kind = "timeout"
	KindCanceled    Kind = "canceled"
	KindExpired     Kind = "expired"
	KindInterrupted Kind = "interrupted"

	KindCacheInvalid Kind = "cache_invalid" // what a refresh printed is no data
)

// Kinds lists every kind: those of requests first, then those of jobs.
func Kinds() []Kind {
	return []Kind{
		KindDispatcherUnknown, KindJobUnknown, KindJobAmbiguous, KindQueueFull, KindArgumentsFull, KindKeysFull, KindTooManyReaders, KindDraining,
		KindPackageMissing, KindIncludeMissing, KindDispatcherDisabled, KindArgumentsInvalid,
		KindBodyTooLarge, KindHeaderTooLarge, KindUnsupportedMedia, KindRequestTimeout, KindForbidden,
		KindIdempotencyConflict, KindStateConflict, KindJournalUnavailable, KindBadRequest,
		KindNotFound, KindMethodNotAllowed, KindNotSupported, KindTooManyConnections, KindUnavailable, KindNoAnswer,
		KindVersionMismatch, KindConfiguration, KindLocked, KindUsage, KindUpgradeFailed,
		KindCacheUnknown, KindCacheEmpty, KindCacheStale, KindInternal,
		KindStartFailed, KindExitStatus, KindSignaled, KindTimeout, KindCanceled, KindExpired, KindInterrupted, KindCacheInvalid,
	}
}

// Exit codes of the commands (SPEC section 8).
const (
	ExitOK            = 0
	ExitJobFailed     = 1
	ExitUsage         = 2
	ExitBadArguments  = 65
	ExitUnknown       = 66
	ExitNoDaemon      = 69
	ExitInternal      = 70
	ExitBusy          = 75
	ExitVersion       = 76
	ExitForbidden     = 77
	ExitConfiguration = 78
	ExitTimedOut      = 124
	ExitNotRun        = 125 // canceled, expired, interrupted
	ExitInterrupted   = 130 // Ctrl-C while waiting
)

// codes is the one table from a kind to its HTTP status and exit code. A test
// refuses status numbers elsewhere.
func codes(k Kind) (status, exit int) {
	switch k {
	case KindDispatcherUnknown, KindJobUnknown, KindNotFound, KindCacheUnknown:
		return 404, ExitUnknown
	case KindQueueFull, KindArgumentsFull, KindKeysFull, KindTooManyReaders, KindDraining, KindTooManyConnections, KindCacheEmpty, KindCacheStale:
		return 503, ExitBusy
	case KindPackageMissing, KindIncludeMissing:
		return 424, ExitConfiguration
	case KindDispatcherDisabled, KindConfiguration:
		return 409, ExitConfiguration
	case KindIdempotencyConflict:
		return 409, ExitBadArguments
	case KindStateConflict, KindJobAmbiguous, KindUsage:
		return 409, ExitUsage
	case KindLocked:
		return 409, ExitBusy
	case KindUpgradeFailed:
		return 409, ExitConfiguration
	case KindArgumentsInvalid:
		return 422, ExitBadArguments
	case KindBadRequest:
		return 400, ExitBadArguments
	case KindRequestTimeout:
		return 408, ExitBusy
	case KindBodyTooLarge:
		return 413, ExitBadArguments
	case KindHeaderTooLarge:
		return 431, ExitBadArguments
	case KindUnsupportedMedia:
		return 415, ExitBadArguments
	case KindMethodNotAllowed:
		return 405, ExitUsage
	case KindNotSupported:
		return 501, ExitUsage
	case KindForbidden:
		return 403, ExitForbidden
	case KindJournalUnavailable:
		return 507, ExitBusy
	case KindUnavailable:
		return 503, ExitNoDaemon
	case KindNoAnswer:
		return 504, ExitNoDaemon
	case KindVersionMismatch:
		return 400, ExitVersion
	case KindStartFailed, KindExitStatus, KindSignaled, KindCacheInvalid:
		return 500, ExitJobFailed
	case KindTimeout:
		return 500, ExitTimedOut
	case KindCanceled, KindExpired, KindInterrupted:
		return 500, ExitNotRun
	}
	return 500, ExitInternal
}

// Status is the HTTP status of the kind, 500 for one it does not know.
func (k Kind) Status() int { s, _ := codes(k); return s }

// ExitCode is the exit code of a command that meets the kind.
func (k Kind) ExitCode() int { _, e := codes(k); return e }

// ExitCode is the exit code of a command that waited for a job which ended so.
func (s State) ExitCode() int {
	switch s {
	case Succeeded:
		return ExitOK
	case TimedOut:
		return ExitTimedOut
	case Canceled, Expired, Interrupted:
		return ExitNotRun
	case Failed, Queued, Running: // the last two have not ended, and are no success
	}
	return ExitJobFailed
}

// Error is an error that a program can act on. On the wire it is an RFC 9457
// problem; Type and Status follow from Kind.
type Error struct {
	Type       string `json:"type" doc:"/problems/ and the kind"`
	Title      string `json:"title" doc:"the HTTP status in words"`
	Status     int    `json:"status" doc:"the HTTP status"`
	Kind       Kind   `json:"kind" doc:"what went wrong, for programs"`
	Detail     string `json:"detail" doc:"what went wrong and where, for people"`
	RetryAfter int    `json:"retry_after,omitempty" doc:"seconds after which to ask again"`
	Dispatcher string `json:"dispatcher,omitempty"`
	Job        string `json:"job,omitempty"`
	Holder     string `json:"holder,omitempty" doc:"who holds the lock"`
	Suggestion string `json:"suggestion,omitempty" doc:"what to do next, or the nearest name"`
}

// Errorf makes an Error of a kind.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{
		Kind: k, Detail: fmt.Sprintf(format, args...),
		Type: "/problems/" + string(k), Title: strings.ReplaceAll(string(k), "_", " "), Status: k.Status(),
	}
}

// Error gives the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Kind)
	}
	return e.Detail
}
