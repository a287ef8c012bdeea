package server

import (
	"bytes"
	"encoding/json"
	"net/http"

	"dispatchd/ipc"
)

// writeJSON answers with a value. Where there is no room for a large one, a deed is
// answered without its large parts: it is done.
func (s *Server) writeJSON(by ipc.Peer, w http.ResponseWriter, status int, v any, deed bool) error {
	release, err := s.budgets.take(by, 2*large(v))
	if err != nil {
		less, ok := without(v)
		if !deed || !ok {
			return err
		}
		v = less
	}
	defer release()
	var text bytes.Buffer
	if err := encode(&text, v); err != nil {
		return err
	}
	switch v := v.(type) {
	case ipc.Job:
		setJobHeaders(w.Header(), v)
	case ipc.Notified:
		setJobHeaders(w.Header(), v.Job)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // the client is gone, or the connection ends: nobody is there to be told
	return nil
}

// encode writes a value as JSON, with a newline behind it.
func encode(text *bytes.Buffer, v any) error {
	enc := json.NewEncoder(text)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// listWriter answers with a list, an element at a time.
type listWriter struct {
	server *Server
	by     ipc.Peer
	w      http.ResponseWriter
	status int
	count  int
	text   bytes.Buffer
}

// add writes one more element.
func (l *listWriter) add(v any) error {
	release, err := l.server.budgets.take(l.by, 2*large(v))
	if err != nil {
		return err
	}
	defer release()
	l.text.Reset()
	l.text.WriteByte(',')
	if l.count == 0 {
		l.text.Reset()
		l.text.WriteByte('[')
		l.begin()
	}
	if err := encode(&l.text, v); err != nil {
		return err
	}
	l.count++
	_, err = l.w.Write(bytes.TrimSuffix(l.text.Bytes(), []byte("\n")))
	if l.text.Cap() > 4*budgetSmall {
		l.text = bytes.Buffer{}
	}
	return err
}

// begin writes the header.
func (l *listWriter) begin() {
	l.w.Header().Set("Content-Type", "application/json")
	l.w.WriteHeader(l.status)
}

// end ends the list, or breaks it off: a client must not take a part for the whole.
func (l *listWriter) end(err error) error {
	switch {
	case err != nil && l.count == 0:
		return err
	case err != nil:
		panic(http.ErrAbortHandler)
	case l.count == 0:
		l.begin()
		_, _ = l.w.Write([]byte("[]\n"))
	default:
		_, _ = l.w.Write([]byte("]\n"))
	}
	return nil
}
