package dispatchers

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"dispatchd/ipc"
)

// isLock reports whether name can be a lock's. It is also the name of a file, so
// it has no slash and does not begin with a dot.
func isLock(name string) bool { return matches(name, "a0", "a0_.:-", 128) }

// placeholder finds {name} in a lock template.
var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// ownLock begins the names that the daemon gives to dispatchers' own locks. A
// named lock must not begin so: users could not tell the two apart.
const ownLock = "dispatcher:"

// Lock is one lock that a job takes before it starts.
type Lock struct {
	Name   string
	Shared bool
}

// Locks are the locks of a job with these arguments, sorted by name and each
// one once: exclusive when both are asked for. A value that is missing or does
// not fit the rule of lock names is refused, never rewritten: an *ipc.Error of
// KindArgumentsInvalid.
func (s *Spec) Locks(args json.RawMessage) ([]Lock, error) {
	if len(s.Exclusive)+len(s.Shared) == 0 {
		return nil, nil
	}
	// Two templates can become one name by the arguments' values. Shared ones are
	// entered first, so that an exclusive one of the same name takes their place.
	shared := map[string]bool{}
	object, _ := decodeAny(args)
	members, _ := object.(map[string]any)
	for _, template := range s.Shared {
		name, err := s.lockName(template, members)
		if err != nil {
			return nil, err
		}
		shared[name] = true
	}
	for _, template := range s.Exclusive {
		name, err := s.lockName(template, members)
		if err != nil {
			return nil, err
		}
		shared[name] = false
	}
	locks := make([]Lock, 0, len(shared))
	for name, is := range shared {
		locks = append(locks, Lock{Name: name, Shared: is})
	}
	slices.SortFunc(locks, func(a, b Lock) int { return strings.Compare(a.Name, b.Name) })
	return locks, nil
}

// lockName fills a template with values from the arguments.
func (s *Spec) lockName(template string, members map[string]any) (string, error) {
	var bad *ipc.Error
	name := placeholder.ReplaceAllStringFunc(template, func(hole string) string {
		arg := hole[1 : len(hole)-1]
		switch v := members[arg].(type) {
		case string:
			if v == "" {
				bad = s.invalid("lock %q: argument %q is empty", template, arg)
			}
			return v
		case json.Number:
			return v.String()
		case bool:
			if v {
				return "true"
			}
			return "false"
		case nil:
			bad = s.invalid("lock %q needs the argument %q", template, arg)
		default:
			bad = s.invalid("lock %q: argument %q is no string, number or boolean", template, arg)
		}
		return ""
	})
	if bad != nil {
		return "", bad
	}
	if !isLock(name) || strings.HasPrefix(name, ownLock) {
		e := s.invalid("lock %q: %q is no lock name", template, printable(clip(name)))
		e.Suggestion = "a lock name has letters, digits, _ . : and -, begins with a letter or digit and has at most 128 characters"
		return "", e
	}
	return name, nil
}

// checkTemplate says what is wrong with a lock template, "" when it is good.
func checkTemplate(template string) string {
	for _, m := range placeholder.FindAllStringSubmatch(template, -1) {
		if m[1] == "" {
			return "{} names no argument"
		}
	}
	filled := placeholder.ReplaceAllString(template, "0")
	switch {
	case strings.ContainsAny(filled, "{}"):
		return "a brace is not closed"
	case strings.HasPrefix(template, ownLock):
		return `names that begin with "dispatcher:" are the dispatchers' own locks`
	case !isLock(filled):
		return "is no lock name: letters, digits, _ . : and -, first a letter or digit, at most 128"
	}
	return ""
}

// clip shortens a value for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "…"
	}
	return s
}
