package box

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"dispatchd/ipc"
)

// Hostile is a server that answers as the daemon does, with a text of an attacker
// wherever text can be: names, messages, reasons, paths, output, headers.
type Hostile struct {
	Socket string
	State  ipc.State // of every job
	Refuse bool      // every answer is an error
	text   string
}

// NewHostile starts one. It ends with the test.
func NewHostile(t testing.TB, text string, state ipc.State, refuse bool) *Hostile {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "box-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &Hostile{Socket: filepath.Join(dir, "run", "control.sock"), State: state, Refuse: refuse, text: text}
	if err := os.Mkdir(filepath.Dir(h.Socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", h.Socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return h
}

// ServeHTTP answers any request.
func (h *Hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(ipc.APIHeader, ipc.SpokenAPI())
	path := r.URL.Path
	if h.Refuse {
		p := ipc.Error{Kind: ipc.KindInternal}
		h.fill(reflect.ValueOf(&p).Elem())
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(p)
		return
	}
	switch {
	case strings.HasSuffix(path, "/log"):
		_, _ = w.Write([]byte(h.text + "\n" + h.text))
	case path == "/openapi.json":
		h.answer(w, map[string]string{h.text: h.text})
	case strings.HasPrefix(path, "/v1/caches/"):
		w.Header().Set("Age", "7")
		header := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1 // net/http refuses the answer for it
			}
			return r
		}, h.text)
		w.Header().Set(ipc.CacheErrorHeader, "failed: "+header)
		w.Header().Set(ipc.CacheJobHeader, header)
		_, _ = w.Write([]byte(h.text))
	default:
		h.answer(w, h.shape(r))
	}
}

// shape is the type that a request is answered with.
func (h *Hostile) shape(r *http.Request) any {
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/notify"), strings.HasSuffix(path, "/retry"):
		return &ipc.Notified{}
	case path == "/v1/dispatchers":
		return &[]ipc.Dispatcher{}
	case strings.HasPrefix(path, "/v1/dispatchers/"):
		return &ipc.Dispatcher{}
	case path == "/v1/jobs":
		return &[]ipc.Job{}
	case strings.HasPrefix(path, "/v1/jobs/"):
		return &ipc.Job{}
	case path == "/v1/locks":
		return &[]ipc.Lock{}
	case path == "/v1/schedule":
		return &[]ipc.Schedule{}
	case path == "/v1/caches":
		return &[]ipc.Cache{}
	case path == "/v1/reload":
		return &ipc.Reload{}
	case path == "/v1/upgrade":
		return &ipc.Upgrade{}
	}
	return &ipc.Status{} // also of drain and undrain
}

// answer fills a value and sends it. A drain has no open jobs, so that its client
// ends, and an upgrade was another daemon's.
func (h *Hostile) answer(w http.ResponseWriter, v any) {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer {
		h.fill(r.Elem())
	}
	switch v := v.(type) {
	case *ipc.Status:
		v.Queued, v.Running = 0, 0
	case *ipc.Upgrade:
		v.StartedAt = time.Unix(1, 0)
	}
	_ = json.NewEncoder(w).Encode(v)
}

// fill puts the text into every field that takes one.
func (h *Hostile) fill(v reflect.Value) {
	switch v.Interface().(type) {
	case ipc.State:
		v.SetString(string(h.State))
		return
	case ipc.Kind, ipc.Reason, ipc.DispatcherState:
		if h.State.Final() {
			return // else the text, which is none that is known
		}
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000, 0)))
		return
	case json.RawMessage:
		raw, _ := json.Marshal(h.text)
		v.SetBytes(raw)
		return
	case map[string]any:
		v.Set(reflect.ValueOf(map[string]any{"script": h.text + "\n" + h.text, h.text: h.text}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(h.text)
	case reflect.Int, reflect.Int64:
		v.SetInt(2)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		h.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		h.fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				h.fill(v.Field(i))
			}
		}
	default: // numbers with fractions, truth values
	}
}

// colour is what may change a terminal: colours, and nothing else.
var colour = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// Drives says what in a text would drive a terminal that shows it, "" = nothing.
func Drives(text string) string {
	text = colour.ReplaceAllString(strings.ReplaceAll(text, "\r\n", "\n"), "")
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 || r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029') {
			return text[max(0, i-40):min(len(text), i+40)]
		}
	}
	return ""
}
