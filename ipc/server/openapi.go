package server

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"dispatchd/ipc"
)

// description is the API's OpenAPI description, with a placeholder for the
// daemon's version. TestDescription makes it of the route table and fails when
// this file says anything else. So the library that knows OpenAPI is no part of
// the daemon: its package initialisation alone took 0.9 ms and 176 KiB of heap
// at every start, of a shim too.
//
//go:embed openapi.json
var description string

// versionMark stands in the description where the daemon's version goes.
const versionMark = `"version":"VERSION"`

// openapi gives the description of the API.
func (s *Server) openapi(_ context.Context, _ ipc.Peer, _ *noInput, w http.ResponseWriter) error {
	version, err := json.Marshal(s.opts.Version)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = io.WriteString(w, strings.Replace(description, versionMark, `"version":`+string(version), 1))
	return nil
}
