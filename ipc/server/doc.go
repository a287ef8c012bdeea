// Package server is the HTTP API on the Unix socket: routes, peer credentials,
// bounds, and errors as RFC 9457 problems. It translates between HTTP and a
// Backend, and decides nothing: the Backend says who may do what, and what
// becomes of a job.
//
// # A request on its way
//
// The listener reads the peer's credentials at accept, from the kernel, never
// from text that the client chose, and asks places whether there is one for it.
// The guard refuses what is foreign, too large, too slow or too much, and reads
// the body as a whole. Then one row of the route table (routes.go) reads the
// parameters by the tags of its input type and calls the Backend with the peer.
// An error becomes a problem whose status follows from its kind
// (ipc.Kind.Status); net/http's own refusals become problems too
// (protocolerror.go).
//
// # What it promises
//
// A stop answers what was accepted: the listener closes first, each open
// connection gets its answer, waits end with the job as it is. A client that
// goes away ends its wait and nothing else. An answer that cannot be completed
// breaks off, so that half of an output never looks like all of it. Every bound
// has a typed answer and a counter in GET /v1/status.
package server
