package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"dispatchd/ipc"
)

// Options of a server. The zero value works.
type Options struct {
	Log      *slog.Logger // nil = none
	Version  string
	MaxConns int // 0 = 512; never more than half of the file descriptors
	Times    Times

	privileged func(ipc.Peer) bool // whose places are kept; nil = root's and the daemon's own user's
	crowd      int                 // with more connections a process has none of these; 0 = by MaxConns
}

// Server answers the API for a Backend.
type Server struct {
	backend Backend
	opts    Options
	http    *http.Server
	conns   *connTracker
	places  places
	refused refusals
	budgets budgets
	base    context.Context // of every request; ends with Shutdown, and with it every wait
	cancel  context.CancelFunc
}

// New makes a server. Nothing runs until Serve.
func New(b Backend, o Options) *Server {
	o.MaxConns, o.Times = connLimit(o.MaxConns), o.Times.orDefault()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{backend: b, opts: o, conns: newConnTracker(), budgets: newBudgets()}
	s.places = newPlaces(o, s.conns, &s.refused)
	s.base, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:                      s.handler(routes()),
		ReadHeaderTimeout:            o.Times.Header,
		IdleTimeout:                  o.Times.Idle,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return s.base },
		ConnContext:                  connContext,
		ConnState:                    connState,
		DisableGeneralOptionsHandler: true,
	}
	return s
}

// Serve answers until Shutdown. When the process has no file descriptor left for
// a connection, net/http tries again after 5 ms, doubled up to 1 s.
func (s *Server) Serve(l net.Listener) error {
	s.conns.accepting(l)
	err := s.http.Serve(listener{l, s})
	if s.conns.stopped() || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown accepts nothing more, ends all waits with what is known then, and gives
// open requests until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancel()
	s.conns.stopAccepting()
	s.http.SetKeepAlivesEnabled(false) // closes idle connections at once
	err := s.conns.drain(ctx)
	_ = s.http.Close()
	return err
}
