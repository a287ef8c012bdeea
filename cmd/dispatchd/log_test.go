package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/dispatchers"
)

// taken is what a log service was given.
type taken struct {
	Level  slog.Level
	Line   string
	Fields map[string]string
}

// service is a log service that keeps what it gets, or takes nothing.
type service struct {
	got    []taken
	broken bool
}

func (s *service) sink(level slog.Level, line string, attrs []slog.Attr) error {
	if s.broken {
		return errors.New("does not answer")
	}
	fields := map[string]string{}
	for _, a := range attrs {
		fields[journalField(a.Key)] = a.Value.String()
	}
	s.got = append(s.got, taken{level, line, fields})
	return nil
}

func TestLogLines(t *testing.T) {
	var s service
	var other bytes.Buffer
	log := slog.New(newLineHandler(slog.LevelInfo, s.sink, slog.NewTextHandler(&other, nil)))
	log.Debug("not this one")
	log.Info("ready")
	log.Warn("job ended\nwith a second line", "dispatcher", "op", "job", "01J", "error", `exit "7"`+"\n", "exit-code", 7)
	log.With("uid", 3).WithGroup("peer").With("pid", 4).Info("grouped", "at", time.Minute)
	want := []taken{
		{slog.LevelInfo, "ready", map[string]string{}},
		{slog.LevelWarn, `job ended with a second line dispatcher=op job=01J error="exit \"7\"\n" exit-code=7`, map[string]string{
			"DISPATCHER": "op", "JOB_ID": "01J", "DISPATCHD_ERROR": "exit \"7\"\n", "DISPATCHD_EXIT_CODE": "7",
		}},
		{slog.LevelInfo, "grouped uid=3 peer.pid=4 peer.at=1m0s", map[string]string{
			"DISPATCHD_UID": "3", "DISPATCHD_PEER_PID": "4", "DISPATCHD_PEER_AT": "1m0s",
		}},
	}
	if diff := cmp.Diff(want, s.got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if other.Len() > 0 {
		t.Errorf("the other log has %s", &other)
	}
	s.broken = true
	log.Error("nobody takes this", "job", "01J")
	if !strings.Contains(other.String(), `level=ERROR msg="nobody takes this" job=01J`) {
		t.Errorf("the other log has %q", &other)
	}
}

// syslogd listens where a syslogd does.
func syslogd(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	_ = os.Remove(path)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// logged reads one datagram.
func logged(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 8192)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestSyslog(t *testing.T) {
	dir, err := os.MkdirTemp("", "syslog-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	conn := syslogd(t, path)
	for _, c := range []struct {
		rfc5424 bool
		level   slog.Level
		want    string
	}{
		{false, slog.LevelInfo, `^<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d dispatchd\[\d+\]: ready dispatchers=3$`},
		{false, slog.LevelError, `^<27>`},
		{true, slog.LevelWarn, `^<28>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d) \S+ dispatchd \d+ - - ready dispatchers=3$`},
		{true, slog.LevelDebug, `^<31>1 `},
	} {
		s := &syslogSink{places: []string{filepath.Join(dir, "none"), path}, rfc5424: c.rfc5424, now: time.Now}
		slog.New(newLineHandler(slog.LevelDebug, s.write, slog.DiscardHandler)).Log(t.Context(), c.level, "ready", "dispatchers", 3)
		if got := logged(t, conn); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("got %q, want %s", got, c.want)
		}
	}
}

// A line that no syslogd takes whole is cut, and says so.
func TestSyslogLongLine(t *testing.T) {
	for _, rfc5424 := range []bool{false, true} {
		got := string((&syslogSink{rfc5424: rfc5424}).message(slog.LevelInfo, strings.Repeat("x", 9000), time.Now()))
		if len(got) != longestSyslog || !strings.HasSuffix(got, "x [cut]") {
			t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-20:])
		}
	}
}

// A syslogd that is restarted is found again at once; one that is away is left
// alone for a while, and the other log has the lines.
func TestSyslogRestarts(t *testing.T) {
	dir, err := os.MkdirTemp("", "syslog-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	now := time.Now()
	s := &syslogSink{places: []string{path}, now: func() time.Time { return now }}
	var other bytes.Buffer
	log := slog.New(newLineHandler(slog.LevelInfo, s.write, slog.NewTextHandler(&other, nil)))
	first := syslogd(t, path)
	log.Info("one")
	logged(t, first)
	_ = first.Close()
	second := syslogd(t, path)
	log.Info("two")
	if got := logged(t, second); !strings.HasSuffix(got, ": two") || other.Len() > 0 {
		t.Errorf("after a restart: %q; the other log has %q", got, &other)
	}
	_ = second.Close()
	_ = os.Remove(path)
	log.Info("three")
	third := syslogd(t, path)
	log.Info("four")
	now = now.Add(syslogPause)
	log.Info("five")
	if got := logged(t, third); !strings.HasSuffix(got, ": five") {
		t.Errorf("after the pause: %q", got)
	}
	if text := other.String(); !strings.Contains(text, "three") || !strings.Contains(text, "four") || strings.Contains(text, "five") {
		t.Errorf("the other log has %q", text)
	}
}

// A syslogd that hangs costs a moment once, not each line.
func TestSyslogHangs(t *testing.T) {
	dir, err := os.MkdirTemp("", "syslog-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	syslogd(t, path) // and nobody reads
	now := time.Now()
	s := &syslogSink{places: []string{path}, now: func() time.Time { return now }}
	for range 100_000 {
		if err = s.write(slog.LevelInfo, "a line", nil); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the socket is full, and: %v", err)
	}
	if err := s.write(slog.LevelInfo, "a line", nil); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the next line waits again: %v", err)
	}
}

func TestLogFormat(t *testing.T) {
	for _, c := range []struct{ word, color, want string }{
		{"auto", "auto", "text"}, {"auto", "always", "terminal"}, {"json", "always", "json"}, {"syslog5424", "auto", "syslog5424"},
	} {
		if got := logFormat(&bytes.Buffer{}, c.word, &flags{color: c.color}); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
		log := newLogger(&bytes.Buffer{}, dispatchers.Settings{LogFormat: c.word, LogLevel: "warn"}, &flags{color: c.color})
		if log.Enabled(context.Background(), slog.LevelInfo) || !log.Enabled(context.Background(), slog.LevelWarn) {
			t.Errorf("%+v: not the level of the settings", c)
		}
	}
}

// A log that goes nowhere goes to syslog, unless it is a private instance's or
// was asked for.
func TestLogOfNobody(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	for _, c := range []struct {
		to         *os.File
		word, root string
		want       string
	}{
		{null, "auto", "", "syslog"}, {null, "auto", "/box", "text"}, {null, "text", "", "text"}, {file, "auto", "", "text"},
	} {
		if got := logFormat(c.to, c.word, &flags{color: "auto", root: c.root}); got != c.want {
			t.Errorf("%s, log_format %s, root %q: %s", c.to.Name(), c.word, c.root, got)
		}
	}
}
