package notify

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
)

// listen makes a socket, and hands its first connection to serve.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "n-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return path
}

// dial connects to a socket.
func dial(t *testing.T, socket string) *Conn {
	t.Helper()
	c, err := Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Answers come with a length, in chunks, and up to the end of the connection.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   Reply
		fails  string
	}{
		"length":       {"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nDispatchd-Api: 1\r\n\r\n{}", Reply{Status: 202, API: "1", Body: []byte("{}")}, ""},
		"lower case":   {"HTTP/1.1 503 X\r\ncontent-length: 1\r\nretry-after:  7\r\n\r\nx", Reply{Status: 503, RetryAfter: 7, Body: []byte("x")}, ""},
		"chunks":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", Reply{Status: 200, Body: []byte("abc0123456789")}, ""},
		"to the end":   {"HTTP/1.0 200 OK\r\n\r\nall of it", Reply{Status: 200, Body: []byte("all of it")}, ""},
		"nothing":      {"", Reply{}, "no answer"},
		"half a head":  {"HTTP/1.1 200 OK\r\nContent-Le", Reply{}, "header"},
		"half a body":  {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Reply{}, "EOF"},
		"half a chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", Reply{}, "EOF"},
		"bad length":   {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Reply{}, "length"},
		"too long":     {"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Reply{}, "length"},
		"bad chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Reply{}, "chunk"},
		"other words":  {"SSH-2.0-OpenSSH\r\n", Reply{}, "not an HTTP answer"},
		"many headers": {"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n", Reply{}, "header"},
		"long header":  {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 5000) + "\r\n\r\n", Reply{}, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := listen(t, func(c net.Conn) {
				if _, err := readRequest(c); err == nil {
					_, _ = io.WriteString(c, test.answer)
				}
			})
			got, err := Post(dial(t, socket), Request{Name: "op"})
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("error %v, want one about %q", err, test.fails)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// readRequest reads a request with a Content-Length.
func readRequest(c net.Conn) (string, error) {
	br := bufio.NewReader(c)
	var text strings.Builder
	size := 0
	for {
		s, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		text.WriteString(s)
		if n, ok := strings.CutPrefix(s, "Content-Length: "); ok {
			for _, d := range strings.TrimSpace(n) {
				size = size*10 + int(d-'0')
			}
		}
		if s == "\r\n" {
			break
		}
	}
	body := make([]byte, size)
	_, err := io.ReadFull(br, body)
	return text.String() + string(body), err
}

// What goes out is one request, whatever the name; a large one goes out whole.
func TestRequests(t *testing.T) {
	large := `"` + strings.Repeat("x", 1<<20) + `"`
	for _, test := range []struct {
		request Request
		want    string
	}{
		{Request{Name: "op"}, "POST /v1/dispatchers/op/notify HTTP/1.1\r\nHost: dispatchd\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"},
		{Request{Name: "a/../b c\r\n", Arguments: []byte(`[1]`), Key: "k"}, "POST /v1/dispatchers/a%2F%2E%2E%2Fb%20c%0D%0A/notify HTTP/1.1\r\nHost: dispatchd\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 17\r\nIdempotency-Key: k\r\n\r\n{\"arguments\":[1]}"},
		{Request{Name: "op", Arguments: []byte(large)}, "POST /v1/dispatchers/op/notify HTTP/1.1\r\nHost: dispatchd\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 1048592\r\n\r\n{\"arguments\":" + large + "}"},
	} {
		got := make(chan string, 1)
		socket := listen(t, func(c net.Conn) {
			text, _ := readRequest(c)
			got <- text
			_, _ = io.WriteString(c, "HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n")
		})
		if _, err := Post(dial(t, socket), test.request); err != nil {
			t.Error(err)
		}
		if text := <-got; text != test.want {
			t.Errorf("sent %.200q, want %.200q", text, test.want)
		}
	}
	if _, err := Post(nil, Request{Name: "op", Key: "a\r\nX: y"}); err == nil {
		t.Error("a key with a line break is sent")
	}
}

// A refusal is read also when the other side reads no further.
func TestRefusedEarly(t *testing.T) {
	socket := listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 100))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
	})
	got, err := Post(dial(t, socket), Request{Name: "op", Arguments: make([]byte, 4<<20)})
	if err != nil || got.Status != 413 {
		t.Errorf("got %+v, %v; want status 413", got, err)
	}
}

func TestDialErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(file); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOTSOCK) {
		t.Errorf("no socket but a file: %v", err)
	}
	if _, err := Dial(strings.Repeat("x", 200)); err == nil {
		t.Error("a path that no socket can have: no error")
	}
}

// A deadline ends a read that nothing answers.
func TestDeadline(t *testing.T) {
	release := make(chan struct{})
	c := dial(t, listen(t, func(net.Conn) { <-release }))
	defer close(release)
	if err := c.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

// accepted is an answer as the daemon sends it.
const accepted = `{"id":"01M888TN1WGY611B1QAF7KP035","dispatcher":"op","state":"queued","waiting_for":{"reason":"turn","detail":"\"}{"},` +
	`"arguments":["]\\",{"state":"failed"}],"origin":"notify","notifiers":[{"uid":0,"at":"2026-11-25T03:00:00Z"}],"attempt":0,` +
	`"output":{"bytes":0,"dropped":0},"coalesced_count":0,"coalesced":true,"position":12}`

func TestPlain(t *testing.T) {
	n, ok := Plain([]byte(accepted + "\n"))
	want := ipc.Notified{Job: ipc.Job{ID: "01M888TN1WGY611B1QAF7KP035", State: ipc.Queued, WaitingFor: &ipc.WaitingFor{}}, Coalesced: true, Position: 12}
	if !ok || !reflect.DeepEqual(n, want) {
		t.Errorf("got %+v, %v; want %+v", n, ok, want)
	}
	for _, other := range []string{
		"", "{}", "null", accepted[:len(accepted)-1], accepted + "x", strings.Replace(accepted, `"queued"`, `"failed"`, 1),
		strings.Replace(accepted, `01M8`, `\u0030`, 1), strings.Replace(accepted, `12`, `"12"`, 1),
	} {
		if n, ok := Plain([]byte(other)); ok {
			t.Errorf("%.80q is taken for a plain answer: %+v", other, n)
		}
	}
}

// Whatever is read of an answer is what encoding/json reads of it.
func FuzzPlain(f *testing.F) {
	f.Add([]byte(accepted))
	f.Add([]byte(` { "state" : "running" , "id" : "x" , "position" : 0 } `))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, ok := Plain(body)
		var whole ipc.Notified
		if !ok || json.Unmarshal(body, &whole) != nil || strings.Count(string(body), `"id"`) != 1 {
			return
		}
		if n.ID != whole.ID && !strings.Contains(whole.ID, "\ufffd") {
			t.Errorf("id %q, want %q", n.ID, whole.ID)
		}
	})
}
