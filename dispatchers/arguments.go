package dispatchers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"dispatchd/ipc"
	"dispatchd/ipc/jsontext"
)

// maxDepth bounds how deep arguments may be nested: the scanner recurses, and a
// client must not choose the depth of the daemon's stack.
const maxDepth = 100

// ValidateArguments checks that raw is exactly one JSON value in UTF-8, without
// duplicate names and at most 100 levels deep, and returns it without needless
// space. encoding/json takes the last of two equal names, so that a check and
// the program that runs could read different values. The error is an *ipc.Error
// of KindArgumentsInvalid.
func (s *Spec) ValidateArguments(raw []byte) (json.RawMessage, error) {
	var compact bytes.Buffer
	if !utf8.Valid(raw) {
		return nil, s.invalid("arguments are not UTF-8")
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, s.invalid("arguments are empty, want one JSON value")
	}
	if err := json.Compact(&compact, raw); err != nil {
		if serr, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, s.invalid("arguments are not one JSON value: %s at byte %d", serr, serr.Offset)
		}
		return nil, s.invalid("arguments are not one JSON value: %s", err)
	}
	if err := jsontext.Strict(compact.Bytes(), maxDepth); err != nil {
		return nil, s.invalid("arguments: %s", err)
	}
	if err := s.checkVariables(compact.Bytes()); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// checkVariables refuses two names of an object whose values would become the same
// environment variable. Shells and perl take the last of equal variables, getenv(3)
// the first, so that a check and the program that runs could read different values.
// What finds its arguments elsewhere, a class or a Go function, may have any names.
func (s *Spec) checkVariables(args []byte) error {
	if s == nil || s.PHPClass != "" || s.Function || args[0] != '{' || bytes.IndexByte(args, ',') < 0 {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(args, &object); err != nil { // cannot be: Strict has read it
		return s.invalid("arguments: %v", err)
	}
	byVariable := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if v := object[name][0]; v == '{' || v == '[' {
			continue
		}
		variable := ArgumentVariable(name)
		if other, twice := byVariable[variable]; twice {
			e := s.invalid("arguments: %q and %q would both be the environment variable %s", clip(other), clip(name), clip(variable))
			e.Suggestion = "give one of them another name: case, and characters other than ASCII letters and digits, make no difference there"
			return e
		}
		byVariable[variable] = name
	}
	return nil
}

// ArgumentVariable is the environment variable of an argument: its name's ASCII letters
// in upper case, digits, and an underscore for each other character.
func ArgumentVariable(name string) string {
	return "DISPATCHD_ARG_" + strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, name)
}

// invalid makes the error of bad arguments.
func (s *Spec) invalid(format string, args ...any) *ipc.Error {
	e := ipc.Errorf(ipc.KindArgumentsInvalid, format, args...)
	if s != nil {
		e.Dispatcher = s.Name
	}
	return e
}

// Canonical writes arguments so that equal ones give equal text: sorted names,
// no space, one way to escape. Numbers stay as they were written: 1 and 1.0 are
// not equal. No arguments are written as null.
func (s *Spec) Canonical(args json.RawMessage) string {
	v, ok := decodeAny(args)
	if !ok {
		return string(args)
	}
	return canonical(v)
}

// decodeAny reads one JSON value and keeps its numbers as they were written.
func decodeAny(args json.RawMessage) (any, bool) {
	if len(args) == 0 {
		return nil, true
	}
	dec := json.NewDecoder(bytes.NewReader(args))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil, false
	}
	_, err := dec.Token()
	return v, errors.Is(err, io.EOF)
}

// canonical writes a decoded value; encoding/json sorts the names of a map.
func canonical(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// maxKey is the longest coalesce key kept as text; the queue holds one for each
// job, and its memory is bounded.
const maxKey = 64

// ArgKey gives the text that two notifies must have in common to share a run:
// all their arguments, or those that coalesce_key names. It hashes long ones.
func (s *Spec) ArgKey(args json.RawMessage) string {
	key := s.Canonical(args)
	if v, ok := decodeAny(args); ok && len(s.CoalesceKey) > 0 {
		if object, isObject := v.(map[string]any); isObject {
			picked := map[string]any{}
			for name, member := range object {
				if slices.Contains(s.CoalesceKey, name) {
					picked[name] = member
				}
			}
			key = canonical(picked)
		}
	}
	if len(key) > maxKey {
		sum := sha256.Sum256([]byte(key))
		return "sha256:" + hex.EncodeToString(sum[:16]) // no JSON value begins so
	}
	return key
}
