package shim

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// tool is a peer that speaks by hand.
type tool struct {
	t     *testing.T
	file  *os.File
	lines *bufio.Reader
}

// connect connects to a supervisor.
func connect(t *testing.T, f proc.AttemptFiles) *tool {
	t.Helper()
	fd, err := dial(f.Socket())
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "tool")
	t.Cleanup(func() { _ = file.Close() })
	return &tool{t, file, bufio.NewReader(file)}
}

// say sends text.
func (p *tool) say(text string) {
	p.t.Helper()
	if _, err := p.file.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// hear waits for a reply.
func (p *tool) hear() (r Reply) {
	p.t.Helper()
	line, err := p.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		p.t.Fatalf("%q: %v", line, err)
	}
	return r
}

// atEnd waits for the end of the connection.
func (p *tool) atEnd() error {
	_, err := io.Copy(io.Discard, p.lines)
	if errors.Is(err, syscall.ECONNRESET) { // with a request that was not read
		return nil
	}
	return err
}

// waiting starts a job that ends when it is told its exit code.
func waiting(t *testing.T) (l proc.Launch, c *Client, end func(code int)) {
	t.Helper()
	l = newLaunch(t, "told")
	gate := gated(t, &l)
	said := newUpdates()
	c, _ = supervise(t, l, said.hear)
	said.until(t, message("waiting"))
	return l, c, func(code int) {
		if _, err := fmt.Fprintln(gate, code); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever is let in may ask, in any form that is JSON.
func TestVerbs(t *testing.T) {
	l, c, end := waiting(t)
	p := connect(t, l.Files)
	p.say(`{"id":1,"verb":"hello","min":1,"max":9}` + "\n")
	if r := p.hear(); r.ID != 1 || r.Version != Version || r.Error != "" || r.Status == nil || r.Status.Phase != Running {
		t.Errorf("hello: %+v", r)
	}
	p.say("{ \"verb\": \"status\", \"id\": 2 }\n")
	child, _ := l.Files.ReadStart()
	if r := p.hear(); r.ID != 2 || r.Status == nil || *r.Status.Child != *child.Child || r.Status.Progress.Message != "waiting" || *r.Status.Progress.Percent != 50 {
		t.Errorf("status: %+v", r)
	}
	p.say(`{"id":3,"verb":"hello","min":7,"max":9}` + "\n")
	if r := p.hear(); r.ID != 3 || r.Version != 0 || !strings.HasPrefix(r.Error, "version: ") {
		t.Errorf("hello of another age: %+v", r)
	}
	end(0)
	if err := p.atEnd(); err != nil { // the supervisor's end is the connection's
		t.Error(err)
	}
	if x := c.Exit(); x.Code != 0 {
		t.Errorf("%+v", x)
	}
}

// A verb that nobody knows, a line that is none, and one that is too long are
// errors, and never an end.
func TestUnknownVerb(t *testing.T) {
	l, c, end := waiting(t)
	p := connect(t, l.Files)
	for _, line := range []struct{ say, want string }{
		{`{"id":1,"verb":"dance"}`, `unknown verb "dance"`},
		{`{"id":2}`, `unknown verb ""`},
		{`stop`, "request: "},
		{``, "request: "},
		{`{"id":4,"verb":"stop","x":"` + strings.Repeat("y", 100_000) + `"}`, "request: longer than"},
		{strings.Repeat("z", maxRequest), "request: "},
	} {
		p.say(line.say + "\n")
		if r := p.hear(); !strings.HasPrefix(r.Error, line.want) || r.Status != nil {
			t.Errorf("%.40q: %+v", line.say, r)
		}
	}
	p.say(`{"id":7,"ver`)
	p.say(`b":"status"}` + "\n" + `{"id":8,"verb":"status"}` + "\n")
	if a, b := p.hear(), p.hear(); a.ID != 7 || b.ID != 8 || b.Status.Phase != Running {
		t.Errorf("%+v, %+v", a, b)
	}
	end(0)
	if x := c.Exit(); x.Canceled || x.Code != 0 {
		t.Errorf("%+v", x)
	}
}

// A peer that does not read holds nobody up: neither with words that it did not ask
// for, nor with replies that it did. When it reads again it hears the newest.
func TestDeafPeer(t *testing.T) {
	l := newLaunch(t, "chatty")
	gate := gated(t, &l)
	said := newUpdates()
	c, _ := supervise(t, l, said.hear)
	said.until(t, percent(0))
	deaf, busy := connect(t, l.Files), connect(t, l.Files)
	if err := unix.SetsockoptInt(int(deaf.file.Fd()), unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetNonblock(int(deaf.file.Fd()), true) // Fd made it block
	// It asks until nobody listens to it any more.
	request := []byte(`{"id":1,"verb":"attach"}` + "\n")
	n := 0
	for {
		_, err := unix.SendmsgN(int(deaf.file.Fd()), request, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	for i := range 3 {
		busy.say(`{"id":1,"verb":"status"}` + "\n")
		if r := busy.hear(); r.Status == nil {
			t.Errorf("%+v", r)
		}
		if _, err := fmt.Fprintln(gate, i+1); err != nil {
			t.Fatal(err)
		}
		said.until(t, percent(float64(i+1)))
	}
	t.Logf("%d requests of a peer that does not read", n)
	for { // it reads: its answers, and then the newest
		if r := deaf.hear(); r.ID == 0 && *r.Status.Progress.Percent == 3 {
			break
		}
	}
	if _, err := fmt.Fprintln(gate, 0); err != nil {
		t.Fatal(err)
	}
	if x := c.Exit(); x.Code != 0 {
		t.Errorf("%+v", x)
	}
}

// More peers than a supervisor lets in wait, and the job goes on.
func TestManyPeers(t *testing.T) {
	l, c, end := waiting(t)
	var in []*tool
	for range maxPeers - 1 { // its daemon is one more
		p := connect(t, l.Files)
		p.say(`{"id":1,"verb":"status"}` + "\n")
		p.hear()
		in = append(in, p)
	}
	late := connect(t, l.Files)
	late.say(`{"id":1,"verb":"status"}` + "\n")
	_ = in[0].file.Close() // makes room
	if r := late.hear(); r.Status == nil {
		t.Errorf("%+v", r)
	}
	end(0)
	if x := c.Exit(); x.Code != 0 {
		t.Errorf("%+v", x)
	}
}

// A stop of what must not be killed is refused.
func TestStopRefused(t *testing.T) {
	l := newLaunch(t, "told")
	l.KillMode = "none"
	gate := gated(t, &l)
	said := newUpdates()
	c, _ := supervise(t, l, said.hear)
	said.until(t, message("waiting"))
	p := connect(t, l.Files)
	p.say(`{"id":5,"verb":"stop"}` + "\n")
	if r := p.hear(); r.ID != 5 || r.Error != "kill_mode none: the job runs on" {
		t.Errorf("%+v", r)
	}
	_, _ = gate.WriteString("0\n")
	c.Exit()
}

// A supervisor that is stopped cannot be asked. The stop reaches it by a signal,
// when it goes on.
func TestStoppedSupervisor(t *testing.T) {
	_, c, _ := waiting(t)
	if err := unix.Kill(c.PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for {
		err := c.Signal(0)
		if errors.Is(err, errDeaf) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if err := unix.Kill(c.PID(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if x := c.Exit(); !x.Canceled {
		t.Errorf("%+v", x)
	}
}
