package dispatchers

import (
	"maps"
	"time"

	"dispatchd/dispatchers/mode"
)

// Defaults that other packages need. The rows of the keys say the same as text;
// a test compares the two.
const (
	DefaultTimeout   = 300 * time.Second
	DefaultMaxQueue  = 10
	DefaultMaxOutput = 1 << 20
	DefaultKillGrace = 10 * time.Second
	DefaultUmask     = 0o022
	DefaultCacheSize = 16 << 20
)

// unset marks a duration whose default depends on another key.
const unset = -1

// ValidName reports whether name can be a dispatcher's.
func ValidName(name string) bool { return matches(name, "a", "a0_-", 64) }

// Spec is one dispatcher: the keys of its file with all defaults filled in. It is
// data only, equal Specs mean the same, and nothing changes one once it is loaded.
type Spec struct {
	Name        string
	Origin      string   // the file that defines it, "go" for a function without one
	DropIns     []string // files merged over it, in their order
	Description string

	Command          []string // argv; exactly one of Command, Script, PHPClass, Function
	Script           string   // text for /bin/sh -eu
	PHPClass         string   // run by the PHP bridge
	Function         bool     // a Go function of the daemon's own program
	PackageIncludes  []string
	RequiredPackages []string

	Timeout      time.Duration // of one attempt, 0 = none
	TimeoutMax   time.Duration // how far a job may extend that, from its start on, 0 = any
	QueueTimeout time.Duration // longest wait, 0 = none
	MaxQueue     int           // queued and running, 0 = no limit of its own
	Concurrency  int

	MaxArgumentBytes int64 // of queued and running jobs together, 0 = no limit of its own
	MaxKeys          int   // idempotency keys, 0 = no limit of its own

	Coalesce          bool     // also true when Debounce or Cache is set
	CoalesceKey       []string // only these arguments are compared, nil = all
	CoalesceArguments mode.JoinedArguments
	Debounce          time.Duration // 0 = none
	DebounceMax       time.Duration

	Exclusive []string // lock templates
	Shared    []string // lock templates

	Timing
	Cache *Cache // nil = its output is no data

	Retry            Retry
	SuccessExitCodes []int
	KillGrace        time.Duration
	KillMode         mode.KillMode
	SurviveRestart   bool
	OnInterrupt      mode.OnInterrupt
	Leftovers        mode.Leftovers

	User             string // "" = the daemon's
	Group            string // "" = the user's
	Umask            int
	WorkingDirectory string
	Environment      map[string]string
	MaxOutput        int64
	Durability       mode.Durability // "" = the daemon's
}

// Retry says which attempts follow a failed or timed_out one.
type Retry struct {
	Attempts   int           // further attempts, 0 = none
	Backoff    time.Duration // before the first retry, doubled for each other
	MaxBackoff time.Duration
	ExitCodes  []int // only these are tried again, nil = all
}

// defaults is a Spec with no key set. finish completes what depends on others.
func defaults(name string) *Spec {
	s := &Spec{Name: name}
	fileKeys().setDefaults(s, "")
	s.TimeoutMax, s.QueueTimeout, s.DebounceMax, s.Overlap = unset, unset, unset, ""
	return s
}

// clone copies a Spec so that a layer over the copy does not change the other.
// Lists are replaced whole by a layer, so both may have the same.
func (s *Spec) clone() *Spec {
	c := *s
	c.Environment = maps.Clone(s.Environment)
	if s.Cache != nil {
		c.Cache = new(*s.Cache)
	}
	return &c
}

// finish fills in the defaults that depend on other keys.
func (s *Spec) finish() {
	if s.TimeoutMax == unset {
		s.TimeoutMax = max(s.Timeout, 10*min(s.Timeout, maxDuration/10))
	}
	if s.QueueTimeout == unset {
		s.QueueTimeout = s.Timeout
	}
	if s.DebounceMax == unset {
		s.DebounceMax = max(s.Debounce, 10*min(s.Debounce, maxDuration/10))
	}
	if s.Debounce > 0 || s.Cache != nil {
		s.Coalesce = true
	}
	if s.Overlap == "" {
		s.Overlap = mode.OverlapQueue
		if s.Cache != nil {
			s.Overlap = mode.OverlapSkip // the run that is active refreshes it
		}
	}
}
