package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/notify"
	"dispatchd/ipc/terminal"
)

const (
	slowTime   = 2 * time.Second  // an answer that takes longer is told to be waited for
	answerTime = 60 * time.Second // for the answer to the notify, where --timeout says nothing else
	pollTime   = 30 * time.Second // how long one request of a longer wait lasts
	minPause   = 50 * time.Millisecond
	maxPause   = time.Second
)

// notify sends the notify and reads what became of it.
func (c *command) notify() (ipc.Notified, error) {
	var n ipc.Notified
	limit := answerTime
	if c.timeout >= 0 {
		limit = c.timeout
	}
	reply, err := c.ask(0, limit, true, func(conn *notify.Conn) (notify.Reply, error) { return notify.Post(conn, c.request) })
	if err != nil {
		return n, err
	}
	if !c.json && reply.Status < 400 && ipc.CheckAPI(reply.API) == nil {
		if n, ok := notify.Plain(reply.Body); ok {
			return n, nil
		}
	}
	return n, read(reply, &n)
}

// ask makes one request over a connection of its own. The daemon is asked to wait
// for waits before it answers, and may take limit beyond that, 0 = as long as it
// likes.
func (c *command) ask(waits, limit time.Duration, changes bool, do func(*notify.Conn) (notify.Reply, error)) (notify.Reply, error) {
	now := time.Now()
	l := notify.Limits{Slow: now.Add(waits + slowTime), OnSlow: func(conn *notify.Conn) { c.waiting(conn.Silence()) }}
	if limit > 0 {
		l.Until = now.Add(waits + limit)
	}
	conn, err := notify.DialTrusted(c.socket, l)
	connected := err == nil
	var reply notify.Reply
	if connected {
		defer func() { _ = conn.Close() }()
		reply, err = do(conn)
	}
	_, typed := errors.AsType[*ipc.Error](err)
	switch {
	case err == nil:
		c.told = false
		return reply, nil
	case typed:
		return reply, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reply, ipc.NoAnswer(c.socket, conn.Silence(), waits+limit, changes && connected)
	case connected:
		return reply, ipc.Lost(c.socket, changes, err)
	}
	return reply, ipc.Unreachable(c.socket, err)
}

// waiting tells once that nothing comes, until something does.
func (c *command) waiting(why string) {
	if c.told || c.quiet || c.json {
		return
	}
	c.told = true
	_ = terminal.Fprintf(c.err, "dispatch-notify: waiting for the daemon: %s\n", why)
}

// read decodes an answer: a value, or an error.
func read(r notify.Reply, v any) error {
	if err := ipc.CheckAPI(r.API); err != nil {
		return err
	}
	if r.Status < 400 {
		if err := json.Unmarshal(r.Body, v); err != nil {
			return fmt.Errorf("the daemon's answer: %w", err)
		}
		return nil
	}
	var p ipc.Error
	if json.Unmarshal(r.Body, &p) != nil || p.Kind == "" {
		return ipc.Errorf(ipc.KindInternal, "the daemon answered with HTTP status %d", r.Status)
	}
	return &p
}

// end asks for the job until it has ended or the wait is over. An answer that
// comes before is not its end: a daemon that stops, or makes way for the next one,
// answers whoever waits with the job as it is, and one that was killed not at all.
// The next daemon knows the job.
func (c *command) end(job *ipc.Job) error {
	began := time.Now()
	var pause time.Duration
	var absent time.Time // since when no daemon was there; zero = one answered last
	for !job.State.Final() {
		piece := pollTime
		if c.wait != forEver {
			piece = min(piece, c.wait-time.Since(began))
		}
		if piece <= 0 {
			return ipc.WaitOver(*job, c.wait)
		}
		asked := time.Now()
		err := c.poll(job, piece)
		switch {
		case err == nil:
			absent = time.Time{}
		case !passes(err):
			return c.named(err, job.ID)
		case absent.IsZero():
			absent = asked
		}
		if job.State.Final() {
			return nil
		}
		if err != nil {
			gone := time.Since(absent)
			if c.timeout > 0 && gone > c.timeout {
				return c.named(err, job.ID)
			}
			if gone > slowTime {
				c.waiting(err.Error())
			}
		}
		if err == nil && time.Since(asked) >= maxPause {
			pause = 0 // the daemon works
			continue
		}
		pause = min(max(2*pause, minPause), maxPause)
		<-time.After(pause)
	}
	return nil
}

// poll asks for the job once, and takes over what is known of it.
func (c *command) poll(job *ipc.Job, piece time.Duration) error {
	id := job.ID
	reply, err := c.ask(piece, max(0, c.timeout), false, func(conn *notify.Conn) (notify.Reply, error) { return notify.Await(conn, id, piece) })
	if err != nil {
		return err
	}
	var now ipc.Job
	if err := read(reply, &now); err != nil {
		return err
	}
	*job = now
	return nil
}

// passes reports whether an error is due to a daemon that goes down, comes up or is
// busy.
func passes(err error) bool {
	p, ok := errors.AsType[*ipc.Error](err)
	return ok && (p.Kind == ipc.KindUnavailable || p.Kind == ipc.KindDraining || p.Kind == ipc.KindTooManyConnections)
}

// named makes an error of the wait say that the job is accepted.
func (c *command) named(err error, id string) error {
	if p, ok := errors.AsType[*ipc.Error](err); ok && p.Kind != ipc.KindJobUnknown {
		p.Job, p.Suggestion = id, "job "+id+" is accepted; dispatchctl wait "+id+" waits for it again"
	}
	return err
}
