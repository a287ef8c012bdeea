package rules

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// layers says which of our packages each of our packages may import. It is
// exhaustive: a new package is written down here, with what it needs.
func layers() map[string][]string {
	return map[string][]string{
		"ipc":          {},
		"ipc/peer":     {"ipc"},
		"ipc/notify":   {"ipc", "ipc/peer"},
		"ipc/lockfile": {},
		"ipc/client":   {"ipc", "ipc/peer"},
		"ipc/console":  {"ipc", "ipc/terminal"},
		"ipc/terminal": {},
		"ipc/server":   {"ipc", "ipc/peer"},
		"scheduler":    {},
		"ipc/jsontext": {},
		"dispatchers":  {"dispatchers/mode", "ipc", "ipc/jsontext", "scheduler"},

		"dispatchers/mode": {},

		"daemon/internal/loop":         {},
		"daemon/internal/queue":        {},
		"daemon/internal/output":       {},
		"daemon/internal/proc":         {"daemon/internal/output", "dispatchers/mode", "ipc", "ipc/jsontext"},
		"daemon/internal/shim":         {"daemon/internal/output", "daemon/internal/proc", "dispatchers/mode", "ipc"},
		"daemon/internal/proc/command": {"daemon/internal/proc"},
		"daemon/internal/store":        {"daemon/internal/output", "dispatchers/mode", "ipc", "ipc/jsontext", "ipc/lockfile"},
		"daemon/internal/launch":       {"daemon/internal/proc", "daemon/internal/proc/command", "dispatchers", "ipc"},
		"daemon/internal/run":          {"daemon/internal/launch", "daemon/internal/output", "daemon/internal/proc", "daemon/internal/shim", "daemon/internal/store", "dispatchers", "ipc", "ipc/lockfile"},
		"daemon/internal/durable":      {"daemon/internal/store", "dispatchers/mode"},
		"daemon/internal/caches":       {"daemon/internal/store", "dispatchers", "ipc"},
		"daemon/internal/schedules":    {"daemon/internal/store", "dispatchers", "dispatchers/mode", "ipc", "scheduler"},
		"daemon/internal/jobs":         {"daemon/internal/durable", "daemon/internal/store", "dispatchers", "dispatchers/mode", "ipc", "scheduler"},
		"daemon": {
			"daemon/internal/caches", "daemon/internal/durable", "daemon/internal/jobs", "daemon/internal/launch", "daemon/internal/loop", "daemon/internal/proc", "daemon/internal/proc/command", "daemon/internal/queue", "daemon/internal/run", "daemon/internal/schedules", "daemon/internal/shim", "daemon/internal/store",
			"dispatchers", "dispatchers/mode", "ipc", "ipc/lockfile", "ipc/server", "scheduler",
		},

		"daemon/shim": {"daemon/internal/shim"},

		"cmd/dispatchd-shim":  {"daemon/shim"},
		"cmd/dispatchd":       {"daemon", "dispatchers", "ipc", "ipc/client", "ipc/console", "ipc/terminal", "scheduler"},
		"cmd/dispatchctl":     {"dispatchers/mode", "ipc", "ipc/client", "ipc/console", "ipc/lockfile", "ipc/terminal", "scheduler"},
		"cmd/dispatch-notify": {"ipc", "ipc/notify", "ipc/peer", "ipc/terminal"},
	}
}

// checkLayers holds our own imports against layers. Tests may import anything
// that the compiler lets them.
func checkLayers(f *file) []string {
	if f.test {
		return nil
	}
	allowed, known := layers()[f.dir]
	if !known {
		return []string{f.at(f.Name, "package %s is not in layers(): write down what it may import", f.dir)}
	}
	var found []string
	for _, spec := range f.Imports {
		own, ok := strings.CutPrefix(importPath(spec), module)
		if ok && !slices.Contains(allowed, own) {
			found = append(found, f.at(spec, "%s imports %s, which layers() does not allow", f.dir, own))
		}
	}
	return found
}

// origin is a module or package from outside, who may import it, and why it is
// there at all. A folder "tests" means every test.
type origin struct {
	path, folders, reason string
}

// outside lists every third-party package that may be imported. Those that
// nobody imports yet are chosen already, for a later stage.
func outside() []origin {
	return []origin{
		{"github.com/coreos/go-systemd/v22/activation", "ipc/server", "a socket from systemd"},
		{"github.com/coreos/go-systemd/v22/daemon", "daemon", "readiness and watchdog for systemd"},
		{"github.com/coreos/go-systemd/v22/journal", "cmd/dispatchd", "the logger's set-up"},
		{"github.com/danielgtaylor/huma/v2", "tests", "describes the route table; its initialisation costs every start 0.9 ms and 176 KiB, so the daemon does not link it"},
		{"github.com/dustin/go-humanize", "cmd/dispatchctl", "sizes for people"},
		{"github.com/gofrs/flock", "daemon/internal/store", "the instance's lock; its unlock frees inherited locks, so for nothing else"},
		{"github.com/google/go-cmp", "tests", "compares in tests"},
		{"github.com/google/renameio/v2", "daemon/internal/store", "a file is replaced whole or not at all"},
		{"github.com/lmittmann/tint", "cmd/dispatchd", "the log on a terminal"},
		{"github.com/oklog/ulid/v2", "daemon daemon/internal/jobs daemon/internal/run daemon/internal/store", "ids of jobs that sort by time"},
		{"github.com/pelletier/go-toml/v2", "dispatchers", "TOML with places for every fault"},
		{"github.com/prometheus/client_golang", "ipc/server", "the metrics' format"},
		{"github.com/robfig/cron/v3", "scheduler", "parses cron fields; its run loop loses ticks"},
		{"github.com/rogpeppe/go-internal", "tests", "scripts of command lines"},
		{"github.com/anishathalye/porcupine", "tests", "linearizability"},
		{"github.com/santhosh-tekuri/jsonschema/v6", "tests", "files that are good fit the schema that editors use"},
		{"github.com/spf13/cobra", "cmd/dispatchd cmd/dispatchctl ipc/console", "verbs, flags, completions"},
		{"github.com/spf13/pflag", "ipc/console", "cobra's flags: which one is unknown, for the nearest one"},
		{"go.uber.org/goleak", "tests", "goroutines left behind"},
		{"golang.org/x/sys/unix", "daemon/internal/output daemon/internal/proc daemon/internal/shim daemon/internal/store ipc/console ipc/lockfile ipc/server cmd/dispatchctl", "system calls; which ones is said in permits()"},
		{"golang.org/x/term", "cmd/dispatchd ipc/console", "is it a terminal"},
		{"pgregory.net/rapid", "tests", "state machines"},
	}
}

// standard lists the standard packages that not everybody may import. Tests
// are free, but for those that nobody may.
func standard() []origin {
	const nobody = ""
	return []origin{
		{"C", nobody, "static binaries, also for FreeBSD"},
		{"html/template", nobody, "nothing is made of templates: an argument is never text of a command"},
		{"log", nobody, "log/slog"},
		{"math/rand", nobody, "math/rand/v2"},
		{"net/http", "ipc/server ipc/client", "the nouns and the tiny client stay small: it costs 3 MiB and 1 ms"},
		{"net/http/pprof", nobody, "no debugging door in a root daemon"},
		{"os/exec", "daemon/internal/proc/command", "jobs are proc's; os/exec waits for pipes that grandchildren hold"},
		{"os/signal", "cmd/dispatchd cmd/dispatchctl cmd/dispatch-notify daemon/internal/proc daemon/internal/shim dispatchers", "signals belong to programs; the shim and a function's child are programs"},
		{"plugin", nobody, "a definition is data"},
		{"syscall", "daemon daemon/internal/output daemon/internal/proc daemon/internal/run daemon/internal/shim daemon/internal/store dispatchers ipc ipc/client ipc/console ipc/notify ipc/peer ipc/server cmd/dispatchd cmd/dispatchctl cmd/dispatch-notify", "which calls is said in permits()"},
		{"text/template", nobody, "nothing is made of templates: an argument is never text of a command"},
		{"unsafe", "daemon/internal/output daemon/internal/proc daemon/internal/shim daemon/internal/store ipc/peer", "system calls of FreeBSD that have no wrapper, and the title of a supervisor"},
	}
}

// nowhere are packages that tests may not import either.
func nowhere() []string { return []string{"C", "log", "math/rand", "plugin"} }

// pure are the standard packages that the queue may import: no clock is read,
// nothing is written, nothing runs beside it.
func pure() []string {
	return strings.Fields("bytes cmp container/heap container/list errors fmt hash/fnv iter maps math math/bits slices sort strconv strings time unicode/utf8")
}

// checkImports holds all other imports against outside, standard and pure.
func checkImports(f *file) []string {
	var found []string
	for _, spec := range f.Imports {
		name := importPath(spec)
		if spec.Name != nil && spec.Name.Name == "." {
			found = append(found, f.at(spec, "a dot import hides where names come from"))
		}
		if why := refused(f, name); why != "" {
			found = append(found, f.at(spec, "%s imports %s: %s", f.dir, name, why))
		}
	}
	return found
}

// refused says why a file may not import a package, "" when it may.
func refused(f *file, name string) string {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case strings.HasPrefix(name, module):
		return "" // layers
	case strings.Contains(first, "."):
		return refusedOutside(f, name)
	case f.dir == "daemon/internal/queue" && !f.test && !slices.Contains(pure(), name):
		return "the queue is pure, see pure()"
	}
	for _, o := range standard() {
		if o.path != name || slices.Contains(strings.Fields(o.folders), f.dir) {
			continue
		}
		if !f.test || slices.Contains(nowhere(), name) {
			return o.reason
		}
	}
	return ""
}

// refusedOutside judges a third-party import.
func refusedOutside(f *file, name string) string {
	for _, o := range outside() {
		if name != o.path && !strings.HasPrefix(name, o.path+"/") {
			continue
		}
		folders := strings.Fields(o.folders)
		if slices.Contains(folders, f.dir) || f.test {
			return ""
		}
		return "only " + o.folders + " may: " + o.reason
	}
	return "it is not in outside(): a dependency needs a reason"
}

// link is an import that a program reaches, and the file that has it.
type link struct {
	by   *file
	name string
}

// links follows the imports of a program through our own packages.
func links(tree []*file, program string) (all []link) {
	seen, todo := map[string]bool{}, []string{program}
	for len(todo) > 0 {
		dir := todo[0]
		todo = todo[1:]
		if seen[dir] {
			continue
		}
		seen[dir] = true
		for _, f := range tree {
			if f.dir != dir || f.test {
				continue
			}
			for _, name := range f.imports() {
				all = append(all, link{f, name})
				if own, ok := strings.CutPrefix(name, module); ok {
					todo = append(todo, own)
				}
			}
		}
	}
	return all
}

// foreign reports whether a package is neither ours nor the standard library's.
func foreign(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return strings.Contains(first, ".") && !strings.HasPrefix(name, module)
}

// checkTinyClient follows the imports of dispatch-notify: the standard library
// only, and never net/http, or its start costs more than its work.
func checkTinyClient(tree []*file) []string {
	var found []string
	for _, l := range links(tree, "cmd/dispatch-notify") {
		if l.name == "net/http" || foreign(l.name) {
			found = append(found, l.by.at(l.by.Name, "dispatch-notify reaches %s", l.name))
		}
	}
	return found
}

// checkSupervisor follows the imports of dispatchd-shim, which starts once for
// each job: nothing of the network, of programs that it runs or of users, and no
// package from outside but system calls.
func checkSupervisor(tree []*file) []string {
	var found []string
	banned := strings.Fields("log/slog net net/http os/exec os/user regexp")
	for _, l := range links(tree, "cmd/dispatchd-shim") {
		if slices.Contains(banned, l.name) || foreign(l.name) && l.name != "golang.org/x/sys/unix" {
			found = append(found, l.by.at(l.by.Name, "dispatchd-shim reaches %s", l.name))
		}
	}
	return found
}

// TestSupervisorLinks holds what dispatchd-shim reaches against a list: a package
// more costs every job, and whoever adds it shows what.
func TestSupervisorLinks(t *testing.T) {
	var names []string
	for _, l := range links(load(t, "../.."), "cmd/dispatchd-shim") {
		names = append(names, l.name)
	}
	slices.Sort(names)
	got := strings.Join(slices.Compact(names), "\n") + "\n"
	want, err := os.ReadFile("testdata/dispatchd-shim.txt")
	if err != nil || got != string(want) {
		t.Errorf("%v: testdata/dispatchd-shim.txt is not what the program links:\n%s", err, got)
	}
}
