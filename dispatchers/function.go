package dispatchers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// FunctionEnv names the environment variable that tells a program to run one of
// its functions as a job's child.
const FunctionEnv = "DISPATCHD_FUNCTION"

// Set holds the functions that a Go program registers as dispatchers. There is
// no global one; a nil Set is empty.
type Set struct {
	functions map[string]function
	bare      *Spec // no key set; made once (45 µs), as each child registers all functions
}

// function is one registered function; call hides its types.
type function struct {
	spec *Spec
	call func(ctx context.Context, args []byte) (any, error)
}

// NewSet makes an empty set.
func NewSet() *Set { return &Set{functions: map[string]function{}} }

// Register adds a function as the dispatcher name. Each run is a child process
// of the program itself, supervised like any other: the arguments are decoded
// strictly into A, R becomes the job's result, an error ends the job as failed,
// and ctx is done when the job is to stop. Each of opts changes the defaults
// before a file of the same name does.
//
// It panics when name is no dispatcher's name or is taken, or fn is nil: these
// are faults of the program, not of its input.
func Register[A, R any](s *Set, name string, fn func(ctx context.Context, args A) (R, error), opts ...func(*Spec)) {
	if !ValidName(name) || fn == nil {
		panic(fmt.Sprintf("dispatchers: Register(%q): not a name, or no function", name))
	}
	if _, taken := s.functions[name]; taken {
		panic(fmt.Sprintf("dispatchers: Register(%q): name is taken", name))
	}
	if s.bare == nil {
		s.bare = defaults("")
	}
	spec := s.bare.clone()
	spec.Name, spec.SuccessExitCodes = name, slices.Clone(spec.SuccessExitCodes)
	for _, opt := range opts {
		opt(spec)
	}
	if spec.Concurrency < 1 || spec.MaxQueue < 0 || min(spec.Timeout, spec.Debounce, spec.KillGrace) < 0 {
		panic(fmt.Sprintf("dispatchers: Register(%q): an option sets a number below its bound", name))
	}
	spec.Name, spec.Origin, spec.Function, spec.Command, spec.Script = name, "go", true, nil, ""
	s.functions[name] = function{spec: spec, call: func(ctx context.Context, raw []byte) (any, error) {
		var args A
		if err := decodeStrict(raw, &args); err != nil {
			return nil, err
		}
		return fn(ctx, args)
	}}
}

// Names lists the registered functions, sorted.
func (s *Set) Names() []string {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.functions))
}

// Spec gives a copy of what was registered, nil for an unknown name. Defaults
// that depend on other keys are not filled in before Load.
func (s *Set) Spec(name string) *Spec {
	if s == nil {
		return nil
	}
	f, ok := s.functions[name]
	if !ok {
		return nil
	}
	return f.spec.clone()
}

// result is the last line a child writes to its progress pipe.
type result struct {
	Result json.RawMessage `json:"result"`
}
