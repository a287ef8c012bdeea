package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

const (
	facilityDaemon = 3
	// longestSyslog is what FreeBSD's syslogd takes as a datagram with its
	// defaults, and what RFC 5424 wants every receiver to take.
	longestSyslog = 2048
	// syslogPatience is how long a syslogd that hangs may hold a log call up.
	syslogPatience = 200 * time.Millisecond
	// syslogPause is how long no line is sent to one that did not answer.
	syslogPause = 5 * time.Second
)

// syslogPlaces are the sockets where a syslogd listens, on Linux and FreeBSD.
func syslogPlaces() []string { return []string{"/var/run/log", "/dev/log"} }

// syslogSink writes to the machine's syslogd in the form of RFC 3164 or RFC 5424.
// log/syslog has neither a bound on its wait nor the second form. Structured data
// is empty: names in it need an enterprise number of IANA.
type syslogSink struct {
	places  []string
	rfc5424 bool
	now     func() time.Time

	mu    sync.Mutex
	conn  net.Conn
	quiet time.Time // until then nothing is sent
}

// newSyslogSink makes the sink of this machine.
func newSyslogSink(rfc5424 bool) *syslogSink {
	return &syslogSink{places: syslogPlaces(), rfc5424: rfc5424, now: time.Now}
}

// write sends a line. A syslogd that was restarted is found again at once.
func (s *syslogSink) write(level slog.Level, line string, _ []slog.Attr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Before(s.quiet) {
		return errors.New("syslog: it did not answer a moment ago")
	}
	message := s.message(level, line, now)
	had := s.conn != nil
	err := s.send(message)
	if err != nil && had {
		err = s.send(message)
	}
	if err != nil {
		s.quiet = now.Add(syslogPause)
	}
	return err
}

// send writes a datagram, and connects first where there is no connection.
func (s *syslogSink) send(message []byte) error {
	if s.conn == nil {
		conn, err := s.dial()
		if err != nil {
			return err
		}
		s.conn = conn
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(syslogPatience))
	if _, err := s.conn.Write(message); err != nil {
		_ = s.conn.Close()
		s.conn = nil
		return fmt.Errorf("syslog: %w", err)
	}
	return nil
}

// dial finds the syslogd.
func (s *syslogSink) dial() (net.Conn, error) {
	var failed error
	for _, place := range s.places {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: place, Net: "unixgram"})
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("syslog: %w", failed)
}

// message is a line as the syslogd wants it.
func (s *syslogSink) message(level slog.Level, line string, now time.Time) []byte {
	priority := facilityDaemon<<3 | severity(level)
	var head string
	if s.rfc5424 {
		head = fmt.Sprintf("<%d>1 %s %s dispatchd %d - - ", priority, now.Format("2006-01-02T15:04:05.000000Z07:00"), hostName(), os.Getpid())
	} else {
		head = fmt.Sprintf("<%d>%s dispatchd[%d]: ", priority, now.Format(time.Stamp), os.Getpid())
	}
	const cut = " [cut]"
	if len(head)+len(line) > longestSyslog {
		line = line[:longestSyslog-len(head)-len(cut)] + cut
	}
	return []byte(head + line)
}

// hostName is this machine's name, "-" where it has none.
func hostName() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "-"
}

// severity is syslog's number for a level.
func severity(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}
