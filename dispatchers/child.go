package dispatchers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"
)

// Bounds of what a child reads and writes. The daemon takes arguments of at most
// 1 MiB, and a result of at most 64 KiB.
const (
	maxArguments = 2 << 20
	maxResult    = 64 << 10
)

// progressFD is the descriptor of the progress pipe: dispatcher.toml(5).
const progressFD = 3

// Main runs one of the set's functions when the process was started for that,
// and does not return then: it exits with 0, or with 1 and the error on standard
// error. Otherwise it returns false at once. A program calls it first thing in
// main, before it starts a daemon.
func (s *Set) Main() bool {
	name := os.Getenv(FunctionEnv)
	if name == "" {
		return false
	}
	// The function may start this program: that child must not run it again.
	_ = os.Unsetenv(FunctionEnv)
	progress := io.Discard
	if os.Getenv("DISPATCHD_PROGRESS_FD") == fmt.Sprint(progressFD) {
		// A process that the function leaves behind must not hold the pipe open.
		syscall.CloseOnExec(progressFD)
		progress = os.NewFile(progressFD, "progress")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := s.runChild(ctx, name, os.Stdin, progress)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
	return true
}

// runChild calls a function with the arguments of a job and reports its result.
func (s *Set) runChild(ctx context.Context, name string, stdin io.Reader, progress io.Writer) error {
	if s == nil || s.functions[name].call == nil {
		return fmt.Errorf("%s: no function is registered under this name", name)
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxArguments+1))
	if err != nil {
		return fmt.Errorf("%s: read arguments: %w", name, err)
	}
	if len(raw) > maxArguments {
		return fmt.Errorf("%s: arguments are larger than %d bytes", name, maxArguments)
	}
	value, err := s.functions[name].call(ctx, raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: result: %w", name, err)
	}
	line, err := json.Marshal(result{Result: encoded})
	if err != nil {
		return fmt.Errorf("%s: result: %w", name, err)
	}
	if len(line) >= maxResult {
		return fmt.Errorf("%s: result is larger than %d bytes", name, maxResult)
	}
	// EPIPE is no fault of the run: its reader, the supervisor, has ended.
	_, _ = progress.Write(append(line, '\n'))
	return nil
}

// decodeStrict reads one JSON value into v, and refuses unknown, duplicate and
// otherwise spelled names and text behind the value. Empty input leaves v alone.
func decodeStrict(raw []byte, v any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	clean, err := (*Spec)(nil).ValidateArguments(raw)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(clean))
	dec.DisallowUnknownFields() // names the field; exactNames checks the letters' case
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	given, _ := decodeAny(clean)
	return exactNames(reflect.TypeOf(v), given, "$")
}

// exactNames refuses names that encoding/json took although only their letters
// match: it reads "Name" into the field name.
func exactNames(t reflect.Type, given any, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	switch g := given.(type) {
	case []any:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return nil
		}
		for i, item := range g {
			if err := exactNames(t.Elem(), item, element(path, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, member := range g {
			mt, ok := memberType(t, name)
			if !ok {
				return fmt.Errorf("arguments: unknown name %q in %q", clip(name), path)
			}
			if err := exactNames(mt, member, join(path, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// memberType is the type that a member of an object is decoded into; false when
// a struct has no field of exactly that name.
func memberType(t reflect.Type, name string) (reflect.Type, bool) {
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.IsExported() && (tag == name || tag == "" && f.Name == name) {
				return f.Type, true
			}
		}
		return nil, false
	}
	return reflect.TypeFor[any](), true // an interface takes all
}
