// Command http is the floor of a daemon with net/http: it reads a request's
// body and answers with a fixed one of the length that a job has. It checks
// nothing, keeps nothing and starts nothing.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve listens on a Unix socket and answers there until it is killed.
func serve(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	const length = 420 // of a queued job, as a notify's answer has it
	answer := []byte(`{"job":"` + strings.Repeat("x", length-len(`{"job":""}`)) + `"}`)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/dispatchers/{name}/notify", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(answer) // a client that has gone reads no error
	})
	return http.Serve(l, mux) //nolint:gosec // a floor on a socket of its own
}
