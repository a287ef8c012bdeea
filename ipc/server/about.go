package server

import (
	"context"
	"slices"

	"dispatchd/ipc"
)

// Index is the answer at /: what this is, and where the rest is.
type Index struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	API     string `json:"api" doc:"the versions of the API that are spoken"`
	OpenAPI string `json:"openapi" doc:"path of the API's description"`
	Status  string `json:"status" doc:"path of the daemon at a glance"`
}

func (s *Server) index(context.Context, ipc.Peer, *noInput) (Index, error) {
	return Index{Name: "dispatchd", Version: s.opts.Version, API: ipc.SpokenAPI(), OpenAPI: "/openapi.json", Status: "/v1/status"}, nil
}

// ProblemType explains a kind of problem, at the path that every problem has as its
// type (RFC 9457 section 3.1.1).
type ProblemType struct {
	Type     string   `json:"type"`
	Kind     ipc.Kind `json:"kind"`
	Meaning  string   `json:"meaning" doc:"what it says, for people"`
	Next     string   `json:"next,omitempty" doc:"what to do about it, where that is always the same"`
	Status   int      `json:"status" doc:"the HTTP status that it comes with"`
	ExitCode int      `json:"exit_code" doc:"of a command that meets it"`
}

// kindIn names a kind.
type kindIn struct {
	Kind string `path:"kind" maxLength:"64"`
}

func (s *Server) problemType(_ context.Context, _ ipc.Peer, in *kindIn) (ProblemType, error) {
	k := ipc.Kind(in.Kind)
	if !slices.Contains(ipc.Kinds(), k) {
		p := ipc.Errorf(ipc.KindNotFound, "no kind of problem is named %.64q", in.Kind)
		p.Suggestion = "see the kinds in /openapi.json"
		return ProblemType{}, p
	}
	return ProblemType{
		Type: "/problems/" + in.Kind, Kind: k, Meaning: meaning(k), Next: k.Next(), Status: k.Status(), ExitCode: k.ExitCode(),
	}, nil
}

// meaning says what a kind says. A test finds one without words.
func meaning(k ipc.Kind) string {
	return map[ipc.Kind]string{
		ipc.KindDispatcherUnknown:   "No dispatcher has this name.",
		ipc.KindJobUnknown:          "No job has this id, or it has grown so old that it is no longer in the history.",
		ipc.KindJobAmbiguous:        "The start of an id fits several jobs.",
		ipc.KindQueueFull:           "As many jobs are outstanding as max_queue of the dispatcher, or max_outstanding of the daemon, allows. Nothing was accepted.",
		ipc.KindArgumentsFull:       "The arguments of the outstanding jobs take all the room that max_argument_bytes gives them. Nothing was accepted.",
		ipc.KindKeysFull:            "As many idempotency keys are kept as max_keys allows. Nothing was accepted.",
		ipc.KindTooManyReaders:      "Answers that nobody reads take all the memory that there is for answers.",
		ipc.KindDraining:            "The daemon is draining or stopping, and accepts no new jobs.",
		ipc.KindPackageMissing:      "A package that the dispatcher requires is not installed.",
		ipc.KindIncludeMissing:      "A file that the dispatcher includes is not there.",
		ipc.KindDispatcherDisabled:  "The dispatcher's definition has faults, and it is disabled.",
		ipc.KindArgumentsInvalid:    "The arguments do not fit the dispatcher, or are not JSON.",
		ipc.KindBodyTooLarge:        "The request's body has more than 1 MiB.",
		ipc.KindHeaderTooLarge:      "The request's header has more than 3 KiB.",
		ipc.KindUnsupportedMedia:    "The request's body is encoded, or of a type other than JSON.",
		ipc.KindRequestTimeout:      "The request did not come to its end in time.",
		ipc.KindForbidden:           "The caller may not do this, or the request may come from a web page.",
		ipc.KindIdempotencyConflict: "The idempotency key was used before, with other arguments.",
		ipc.KindStateConflict:       "The job or the daemon is in a state in which this is not possible.",
		ipc.KindJournalUnavailable:  "The journal cannot be written. Nothing is accepted that could be lost; acceptance resumes by itself.",
		ipc.KindBadRequest:          "The request is wrong: its parameters, its body, or its form.",
		ipc.KindNotFound:            "Nothing is at this path.",
		ipc.KindNotSupported:        "The contract has this, and this version of the daemon does not yet.",
		ipc.KindMethodNotAllowed:    "The path is right, the method is not.",
		ipc.KindTooManyConnections:  "Too many connections are open or wait, or the memory for requests is taken.",
		ipc.KindUnavailable:         "No daemon is there. A client says so, no daemon.",
		ipc.KindNoAnswer:            "A daemon is there and has not answered in time. A client says so, no daemon.",
		ipc.KindVersionMismatch:     "Client and daemon speak different versions of the API.",
		ipc.KindConfiguration:       "The daemon's configuration is wrong.",
		ipc.KindLocked:              "Another process or job holds a lock.",
		ipc.KindUsage:               "The command line is wrong. A command says so, no daemon.",
		ipc.KindUpgradeFailed:       "The installed program cannot take over. The daemon that runs goes on.",
		ipc.KindCacheUnknown:        "The dispatcher keeps no cache.",
		ipc.KindCacheEmpty:          "No refresh of the cache has succeeded yet.",
		ipc.KindCacheStale:          "The cache's data is older than was asked for, and older data was not wanted.",
		ipc.KindInternal:            "Something went wrong in the daemon.",
		ipc.KindStartFailed:         "The job's program could not be started.",
		ipc.KindExitStatus:          "The job's program ended with an exit status that is no success.",
		ipc.KindSignaled:            "A signal ended the job's program.",
		ipc.KindTimeout:             "The job ran longer than its timeout, or a client's wait ran out.",
		ipc.KindCanceled:            "The job was canceled.",
		ipc.KindExpired:             "The job waited in the queue longer than its queue_timeout.",
		ipc.KindInterrupted:         "The daemon or the machine went down while the job ran, and its end is not known.",
		ipc.KindCacheInvalid:        "What a cache's refresh printed is no data of its format.",
	}[k]
}
