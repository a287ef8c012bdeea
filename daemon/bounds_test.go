package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/ipc"
)

// configured writes the settings of a daemon.
func configured(t *testing.T, root, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, "dispatchd.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// askAs asks for a run as somebody, with arguments and a key.
func (s *stage) askAs(uid int, name, args, key string) (ipc.Notified, error) {
	return s.Notify(s.t.Context(), ipc.Peer{UID: uid}, ipc.NotifyRequest{Dispatcher: name, Arguments: json.RawMessage(args), IdempotencyKey: key})
}

// refusedAs holds an error against a kind and a part of its text.
func refusedAs(t *testing.T, err error, kind ipc.Kind, part string) {
	t.Helper()
	p, ok := errors.AsType[*ipc.Error](err)
	if !ok || p.Kind != kind || p.Status != 503 || p.RetryAfter == 0 || p.Suggestion == "" || !strings.Contains(p.Detail, part) {
		t.Errorf("%v is no %s with %q", err, kind, part)
	}
}

// kib is a JSON string of n KiB.
func kib(n int) string { return `"` + strings.Repeat("x", n<<10-2) + `"` }

// Arguments are bounded in bytes, of a dispatcher and of all; root is still served,
// a restart changes nothing, and what ends makes room.
func TestArgumentsFull(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		const stranger = 4711
		configured(t, root, "max_argument_bytes = '10 KiB'\n")
		files := map[string]string{}
		for _, name := range []string{"a", "b", "c"} {
			files[name] = "script = 'x'\nmax_queue = 0\nqueue_timeout = 0\nmax_argument_bytes = '8 KiB'\n"
		}
		s := set(t, root, files, func(string, int) act { return act{lasts: time.Second} })
		for name := range files {
			if _, err := s.Pause(t.Context(), ipc.Peer{}, name, true); err != nil {
				t.Fatal(err)
			}
		}
		want := func(uid int, name string, n int, part string) (id string) {
			t.Helper()
			job, err := s.askAs(uid, name, kib(n), "")
			if part != "" {
				refusedAs(t, err, ipc.KindArgumentsFull, part)
			} else if err != nil {
				t.Errorf("%d KiB for %s: %v", n, name, err)
			}
			return job.ID
		}
		first := want(stranger, "a", 6, "")
		want(stranger, "a", 3, "dispatcher a")
		want(stranger, "a", 2, "")
		want(0, "a", 3, "dispatcher a")
		want(0, "a", 1, "") // of the eighth that is root's
		if _, err := s.askAs(stranger, "a", "", ""); err != nil {
			t.Errorf("without arguments: %v", err)
		}
		want(stranger, "b", 1, "")
		want(stranger, "c", 1, "of the daemon")
		want(0, "c", 1, "")

		s.strike()
		s = set(t, root, files, func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		want(stranger, "b", 1, "of the daemon")
		status, err := s.Status(t.Context(), ipc.Peer{})
		if err != nil || status.Arguments != (ipc.Usage{Used: 11 << 10, Max: 10 << 10}) || status.Counters.ArgumentsFull != 1 || status.Counters.Refused != 1 {
			t.Errorf("%+v, %+v, %v", status.Arguments, status.Counters, err)
		}
		if _, err := s.Cancel(t.Context(), ipc.Peer{}, first); err != nil {
			t.Fatal(err)
		}
		want(stranger, "b", 5, "")
	})
}

// Idempotency keys are bounded in number. A key that is known is none more.
func TestKeysFull(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		const stranger = 4711
		configured(t, root, "max_keys = 5\n")
		op := "script = 'x'\nmax_queue = 0\nqueue_timeout = 0\nmax_keys = 4\n"
		s := set(t, root, map[string]string{"a": op, "b": op}, func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		for n := range 4 {
			if _, err := s.askAs(stranger, "a", "", fmt.Sprint("k", n)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.askAs(stranger, "a", "", "k4")
		refusedAs(t, err, ipc.KindKeysFull, "dispatcher a")
		if _, err := s.askAs(stranger, "a", "", "k3"); err != nil {
			t.Errorf("a known key: %v", err)
		}
		if _, err := s.askAs(stranger, "a", "", ""); err != nil {
			t.Errorf("without a key: %v", err)
		}
		if _, err := s.askAs(0, "a", "", "k4"); err != nil {
			t.Errorf("root: %v", err)
		}
		_, err = s.askAs(stranger, "b", "", "k")
		refusedAs(t, err, ipc.KindKeysFull, "of the daemon")
		if status, err := s.Status(t.Context(), ipc.Peer{}); err != nil || status.Keys != (ipc.Usage{Used: 5, Max: 5}) || status.Counters.KeysFull != 2 {
			t.Errorf("%+v, %+v, %v", status.Keys, status.Counters, err)
		}
	})
}

// A notify that joins a job brings its arguments and its locks, also over a
// restart, unless the definition says otherwise; one that could not be recorded
// leaves the job as it was.
func TestJoinedArguments(t *testing.T) {
	for rule, want := range map[string]string{"": "new", "coalesce_arguments = 'last'": "new", "coalesce_arguments = 'first'": "old"} {
		bubble(t, func(t *testing.T, root string) {
			files := map[string]string{"op": "script = 'x'\ncoalesce = true\ncoalesce_key = ['id']\n" + rule + "\n[locks]\nexclusive = ['v:{v}']\n"}
			s := set(t, root, files, func(string, int) act { return act{lasts: time.Second} })
			if _, err := s.Pause(t.Context(), ipc.Peer{}, "op", true); err != nil {
				t.Fatal(err)
			}
			notify := func(v string) ipc.Notified {
				n, err := s.askAs(0, "op", `{"id":1,"v":"`+v+`"}`, "")
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			first := notify("old")
			if n := notify("new"); n.ID != first.ID || !n.Coalesced || string(n.Arguments) != `{"id":1,"v":"`+want+`"}` {
				t.Errorf("%s: %+v", rule, n)
			}
			s.strike()
			s = set(t, root, files, func(string, int) act { return act{lasts: time.Second} })
			defer s.strike()
			if _, err := s.Pause(t.Context(), ipc.Peer{}, "op", false); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			locks, err := s.Locks(t.Context(), ipc.Peer{})
			if err != nil || !strings.Contains(fmt.Sprint(locks), "v:"+want) {
				t.Errorf("%s: %+v, %v", rule, locks, err)
			}
			if job := s.await(first.ID); job.State != ipc.Succeeded || string(job.Arguments) != `{"id":1,"v":"`+want+`"}` {
				t.Errorf("%s: %s with %s", rule, job.State, job.Arguments)
			}
		})
	}
}

// Lists leave arguments and results out unless they are asked for; then a list ends
// early rather than be large, and never before its first job.
func TestListFields(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\nmax_queue = 0\nqueue_timeout = 0\n"}, func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		if _, err := s.Pause(t.Context(), ipc.Peer{}, "op", true); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := s.askAs(0, "op", kib(40), ""); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			fields []string
			want   []int // jobs of each page
		}{{nil, []int{5, 0}}, {[]string{"result"}, []int{5, 0}}, {[]string{"result", "arguments"}, []int{2, 2, 1, 0}}} {
			before := ""
			for _, want := range c.want {
				list, err := s.Jobs(t.Context(), ipc.Peer{}, ipc.JobFilter{Before: before, Fields: c.fields})
				if err != nil || len(list) != want {
					t.Fatalf("%v before %q: %d jobs, %v; want %d", c.fields, before, len(list), err, want)
				}
				for _, job := range list {
					if (len(job.Arguments) > 0) != (len(c.fields) == 2) {
						t.Errorf("%v: %d bytes of arguments", c.fields, len(job.Arguments))
					}
					before = job.ID
				}
			}
		}
	})
}
