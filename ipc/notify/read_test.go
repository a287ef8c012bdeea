package notify

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readText reads an answer from a text.
func readText(text string) (Reply, error) { return readReply(bufio.NewReader(strings.NewReader(text))) }

// What a broken or hostile daemon may say is read with care, or not at all.
func TestReadWithCare(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Reply
	}{
		"bare newline": {"HTTP/1.1 200\nContent-Length: 1\n\na", Reply{Status: 200, Body: []byte("a")}},
		"retry date":   {"HTTP/1.1 503 Busy\r\nRetry-After: Wed, 25 Nov 2026 01:02:03 GMT\r\n\r\n", Reply{Status: 503, Body: []byte{}}},
		"retry back":   {"HTTP/1.1 503 Busy\r\nRetry-After: -3\r\n\r\n", Reply{Status: 503, Body: []byte{}}},
		"more follows": {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", Reply{Status: 200, Body: []byte("abc")}},
	} {
		got, err := readText(c.text)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	ok := "HTTP/1.1 200 OK\r\n"
	for name, text := range map[string]string{
		"no status":    "HTTP/1.1\r\n\r\n",
		"word":         "HTTP/1.1 abc\r\n\r\n",
		"negative":     "HTTP/1.1 -20\r\n\r\n",
		"plus":         "HTTP/1.1 +20\r\n\r\n",
		"four digits":  "HTTP/1.1 2000 OK\r\n\r\n",
		"continue":     "HTTP/1.1 100 Continue\r\n\r\n",
		"overflow":     ok + "Content-Length: 99999999999999999999999\r\n\r\n",
		"huge chunk":   ok + "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
		"bigger chunk": ok + "Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n",
		"loose chunk":  ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
		"no last one":  ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"no line":      strings.Repeat("x", 1<<20),
	} {
		if got, err := readText(text); err == nil {
			t.Errorf("%s: taken as %+v", name, got)
		}
	}
}

// endless is an answer that never stops.
type endless struct{ r io.Reader }

func (e *endless) Read(b []byte) (int, error) {
	if n, err := e.r.Read(b); n > 0 || err == nil {
		return n, nil
	}
	return copy(b, strings.Repeat("a: b\r\n", len(b)/6+1)), nil
}

func TestReadIsBounded(t *testing.T) {
	for _, head := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n"} {
		got, err := readReply(bufio.NewReader(&endless{strings.NewReader(head)}))
		if len(got.Body) > maxReply || (err == nil && head != "HTTP/1.1 200 OK\r\n\r\n") {
			t.Errorf("%q: %d bytes, %v", head, len(got.Body), err)
		}
	}
}

// Whatever is sent: what the reader takes, net/http reads in the same way.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", "", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 503 x\r\nRetry-After: 9\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 99 \r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.0 200 \nTransfer-Encoding:chunked\n\n00\n00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := readReply(bufio.NewReader(bytes.NewReader(raw)))
		if len(got.Body) > maxReply {
			t.Fatalf("%d bytes", len(got.Body))
		}
		if err != nil {
			return
		}
		if got.Status < 200 || got.Status > 999 || got.RetryAfter < 0 {
			t.Errorf("%+v", got)
		}
		want, werr := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: http.MethodPost})
		if werr != nil {
			return // net/http is stricter about headers that are not looked at
		}
		defer func() { _ = want.Body.Close() }()
		body, werr := io.ReadAll(want.Body)
		// HTTP/1.0 has no chunks, for net/http; we take them.
		plain := want.ProtoAtLeast(1, 1) && want.StatusCode != http.StatusNoContent && want.StatusCode != http.StatusNotModified && len(want.Header["Content-Length"]) <= 1 && !strings.Contains(string(raw), "\n ") && !strings.Contains(string(raw), "\n\t")
		if werr == nil && plain && (want.StatusCode != got.Status || !bytes.Equal(body, got.Body)) {
			t.Errorf("read %d %q, net/http %d %q", got.Status, got.Body, want.StatusCode, body)
		}
	})
}

// Whatever name and arguments are, the request is one, and says how long it is.
func FuzzEncode(f *testing.F) {
	f.Add("d", []byte(`{"a":1}`), "k")
	f.Add("../x", []byte(nil), "")
	f.Add("a b", []byte("x\r\n\r\nPOST"), "\u00fc")
	f.Fuzz(func(t *testing.T, name string, args []byte, key string) {
		if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) || name == "" {
			t.Skip("the server refuses such a key, and there is no such name")
		}
		raw := encode(Request{Name: name, Arguments: args, Key: key})
		br := bufio.NewReader(bytes.NewReader(raw))
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("%v\n%q", err, raw)
		}
		body, err := io.ReadAll(req.Body)
		if _, more := br.ReadByte(); err != nil || more != io.EOF {
			t.Fatalf("%v, %v\n%q", err, more, raw)
		}
		if len(args) > 0 && string(body) != `{"arguments":`+string(args)+"}" || req.Header.Get("Content-Length") != strconv.Itoa(len(body)) {
			t.Errorf("body %q", body)
		}
		if got := req.URL.Path; got != "/v1/dispatchers/"+name+"/notify" {
			t.Errorf("path %q for %q", got, name)
		}
		if json.Valid(args) && !json.Valid(body) {
			t.Errorf("body %q is not JSON", body)
		}
	})
}
