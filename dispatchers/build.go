package dispatchers

import (
	"slices"
	"time"

	"dispatchd/dispatchers/mode"
)

// builder sets the keys of one dispatcher, layer by layer, and then judges what
// they mean together.
type builder struct {
	*decoder
	keys     keys[Spec]
	trust    trust
	spec     *Spec
	function bool    // a Go function is registered under the name
	broken   bool    // some file could not be read to its end
	base     *source // the first file
	mayRunAs func(user, group string) string
	path     string  // of jobs whose definition sets none
	warnings []Fault // of what is good, but not on this host as it is
}

// layer sets the keys of one file over those before it.
func (b *builder) layer(src *source) {
	if b.base == nil {
		b.base = src
	}
	doc := parseTOML(src)
	// The tree holds the values before the place where the syntax breaks: they
	// are judged as well, so that one reading reports all faults.
	b.keys.decode(b.decoder, doc.root, b.spec)
	b.addSyntaxFaults(doc)
	b.broken = b.broken || doc.broken
}

// finish checks the keys against each other and gives all faults. Where a file
// could not be read to its end or a value is bad, a missing key proves nothing:
// each check reports only what it would say of the whole file, too.
func (b *builder) finish() []Fault {
	b.checkOperation()
	b.checkCoalesce()
	b.checkDurations()
	b.checkTiming()
	b.spec.finish()
	b.checkIncludes()
	b.checkPrograms()
	b.checkAccount()
	b.checkHost()
	if more := b.count - len(b.faults); more > 0 && b.base != nil {
		b.faults = append(b.faults, Fault{File: b.base.path, Message: "and more faults that are not listed"})
	}
	return b.faults
}

// isValid reports whether a key was set to a value without fault.
func (b *builder) isValid(key string) bool {
	v := b.seen[key]
	return v != nil && !slices.ContainsFunc(b.faults, func(f Fault) bool { return f.Key == key && f.File == v.src.path })
}

// checkOperation wants exactly one of command, script, php_class and a function.
func (b *builder) checkOperation() {
	var set []*value
	for _, key := range []string{"command", "script", "php_class"} {
		if v := b.seen[key]; v != nil {
			set = append(set, v)
		}
	}
	switch {
	case b.function && len(set) > 0:
		b.report(set[0], set[0].keyAt, "take it out, or give the file another name", "a Go function is registered as %s already", b.spec.Name)
	case len(set) > 1:
		last := set[len(set)-1]
		b.report(last, last.keyAt, "keep one of them", "stands beside %s, want exactly one", set[0].path)
	case len(set) == 0 && !b.function && !b.broken && b.base != nil:
		f := b.base.fault(0, "command", "is missing")
		f.Suggestion = `every dispatcher needs command = ["/path/to/program", …], script = "…" or php_class = "…"`
		b.faults = append(b.faults, f)
		b.count++
	}
	b.spec.Function = b.function
	// The kernel executes argv as it is: no interpreter would load the includes.
	if v := b.seen["package_includes"]; v != nil && len(b.spec.PackageIncludes) > 0 && (b.function || b.seen["command"] != nil) {
		b.report(v, v.keyAt, "use script or php_class, or load the files in the program", "works with script and php_class only")
	}
}

// checkAccount checks that the daemon can change to the job's user and group.
func (b *builder) checkAccount() {
	var v *value
	for _, key := range []string{"group", "user"} {
		if b.seen[key] == nil {
			continue
		}
		if !b.isValid(key) {
			return
		}
		v = b.seen[key]
	}
	if v == nil || b.mayRunAs == nil {
		return
	}
	if why := b.mayRunAs(b.spec.User, b.spec.Group); why != "" {
		b.bad(v, "start the daemon as root, or take the key out", "%s", why)
	}
}

// checkCoalesce checks what coalescing keys mean together.
func (b *builder) checkCoalesce() {
	s := b.spec
	if v := b.seen["coalesce"]; v != nil && !s.Coalesce && s.Debounce > 0 {
		b.bad(v, "take it out", "debounce implies coalesce, false contradicts it")
	}
	if v := b.seen["coalesce_key"]; v != nil && !s.Coalesce && s.Debounce == 0 && b.isValid("coalesce_key") {
		b.report(v, v.keyAt, "set coalesce = true", "means nothing without coalesce or debounce")
	}
	if v := b.seen["coalesce_arguments"]; v != nil && !s.Coalesce && s.Debounce == 0 && s.Cache == nil && s.CoalesceArguments == mode.First {
		b.report(v, v.keyAt, "set coalesce = true", "means nothing without coalesce or debounce")
	}
	v := b.seen["locks.shared"]
	if v == nil {
		return
	}
	for _, item := range v.items {
		if slices.Contains(s.Exclusive, item.text) {
			b.bad(item, "keep one of them", "%q is exclusive too", clip(item.text))
		}
	}
}

// checkDurations checks pairs of durations.
func (b *builder) checkDurations() {
	s := b.spec
	if v := b.seen["debounce_max"]; v != nil && b.isValid("debounce_max") && b.seen["debounce"] == nil && s.Debounce == 0 {
		b.report(v, v.keyAt, "set debounce", "means nothing without debounce")
	} else if v != nil && b.isValid("debounce_max") && s.DebounceMax < s.Debounce {
		b.bad(v, "", "is shorter than debounce, which is %s", durationText(s.Debounce))
	}
	if v := b.seen["timeout_max"]; v != nil && b.isValid("timeout_max") && s.TimeoutMax > 0 && s.TimeoutMax < s.Timeout {
		b.bad(v, "", "is shorter than timeout, which is %s", durationText(s.Timeout))
	}
	if s.Retry.MaxBackoff >= s.Retry.Backoff {
		return
	}
	if v := b.seen["retry.max_backoff"]; v != nil {
		if b.isValid("retry.max_backoff") {
			b.bad(v, "", "is shorter than backoff, which is %s", durationText(s.Retry.Backoff))
		}
	} else {
		s.Retry.MaxBackoff = s.Retry.Backoff // its default gives way
	}
}

// checkTiming checks what the keys of schedules and caches mean together.
func (b *builder) checkTiming() {
	s := b.spec
	// A Go program's option may set what no file was asked for.
	if b.function && b.seen["schedule"] == nil {
		if _, err := s.Times(time.UTC); err != nil {
			b.faults = append(b.faults, Fault{File: s.Origin, Key: "schedule", Message: err.Error()})
		}
		if s.Timezone != "" && b.seen["timezone"] == nil {
			if _, err := b.zones.Load(s.Timezone); err != nil {
				b.faults = append(b.faults, Fault{File: s.Origin, Key: "timezone", Message: err.Error()})
			}
		}
	}
	for _, key := range []string{"timezone", "jitter", "catch_up", "overlap"} {
		if v := b.seen[key]; v != nil && b.isValid(key) && len(s.Schedule) == 0 && b.seen["schedule"] == nil {
			b.report(v, v.keyAt, "set schedule", "means nothing without schedule")
		}
	}
	if v := b.seen["coalesce"]; v != nil && !s.Coalesce && s.Cache != nil {
		b.bad(v, "take it out", "one refresh of a cache serves all, false contradicts it")
	}
	if v := b.seen["concurrency"]; v != nil && s.Concurrency > 1 && s.Cache != nil {
		b.bad(v, "take it out", "a cache is refreshed by one run at a time")
	}
}
