//go:build packages

package packages

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/test/box"
)

// pages are all man pages.
func pages() []string {
	return []string{"dispatch-notify.1", "dispatchctl.1", "dispatchd-shim.8", "dispatchd.8", "dispatchd.toml.5", "dispatcher.toml.5"}
}

// TestPagesRender: no reader of man pages has anything to complain about.
func TestPagesRender(t *testing.T) {
	names, err := filepath.Glob("../../packaging/man/*")
	if err != nil || len(names) != len(pages()) {
		t.Errorf("pages() lists %d pages, there are %q (%v)", len(pages()), names, err)
	}
	readers := map[string][]string{
		"mandoc": {"mandoc", "-T", "lint", "-W", "warning"},
		"man":    {"man", "--warnings=all", "-E", "UTF-8", "-l", "-Z"},
	}
	for _, program := range []string{"mandoc", "man"} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(program + " is not installed")
			}
			for _, name := range pages() {
				argv := append(slices.Clone(readers[program]), filepath.Join("../../packaging/man", name))
				cmd := exec.Command(argv[0], argv[1:]...)
				var said strings.Builder
				cmd.Stderr = &said
				if program == "mandoc" {
					cmd.Stdout = &said // what lint says
				}
				if err := cmd.Run(); err != nil || said.Len() > 0 {
					t.Errorf("%s: %v\n%s", name, err, said.String())
				}
			}
		})
	}
}

// helpFlag finds the flags of a line of help.
var helpFlag = regexp.MustCompile(`^ +(?:(-[a-zA-Z]), )?(--[a-z-]+)?`)

// help asks a program what it takes: its own flags, and its commands.
func help(t *testing.T, argv ...string) (flags, commands []string) {
	t.Helper()
	out, err := exec.Command(argv[0], append(argv[1:], "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q --help: %v\n%s", argv, err, out)
	}
	section := ""
	for line := range strings.Lines(string(out)) {
		switch {
		case !strings.HasPrefix(line, " "):
			section = strings.TrimSpace(line)
		case section == "Available Commands:":
			commands = append(commands, strings.Fields(line)[0])
		case section == "Flags:" || strings.HasPrefix(filepath.Base(argv[0]), "dispatch-notify"):
			for _, flag := range helpFlag.FindStringSubmatch(line)[1:] {
				if flag != "" && flag != "--help" && flag != "-h" {
					flags = append(flags, flag)
				}
			}
		}
	}
	return flags, commands
}

// same wants two lists to have the same words.
func same(t *testing.T, what string, page, program []string) {
	t.Helper()
	slices.Sort(page)
	slices.Sort(program)
	if diff := cmp.Diff(append([]string{}, program...), append([]string{}, page...)); diff != "" {
		t.Errorf("%s (-program +page):\n%s", what, diff)
	}
}

// TestPagesFlags: every command and flag of the programs is in their pages, and
// nothing else is.
func TestPagesFlags(t *testing.T) {
	bin := box.Programs(t)
	for program, name := range map[string]string{"dispatchd": "dispatchd.8", "dispatchctl": "dispatchctl.1", "dispatch-notify": "dispatch-notify.1"} {
		t.Run(program, func(t *testing.T) {
			p, path := readPage(t, name), filepath.Join(bin, program)
			flags, commands := help(t, path)
			same(t, "flags of "+program, p.flags("DESCRIPTION"), flags)
			for _, command := range slices.Clone(commands) {
				_, below := help(t, path, command)
				for _, sub := range below {
					commands = append(commands, command+" "+sub)
				}
				if len(below) > 0 { // a family of commands is none itself
					commands = slices.DeleteFunc(commands, func(c string) bool { return c == command })
				}
			}
			documented := p.commands()
			same(t, "commands of "+program, slices.Collect(maps.Keys(documented)), slices.Clone(commands))
			for _, command := range commands {
				if command == "help" {
					continue
				}
				flags, _ := help(t, append([]string{path}, strings.Fields(command)...)...)
				same(t, "flags of "+program+" "+command, documented[command], flags)
			}
		})
	}
}

// TestPagesExits: every exit code is in its page, and no other. The daemon asks
// no other daemon.
func TestPagesExits(t *testing.T) {
	client := []int{
		ipc.ExitOK, ipc.ExitJobFailed, ipc.ExitUsage, ipc.ExitBadArguments, ipc.ExitUnknown, ipc.ExitNoDaemon, ipc.ExitInternal,
		ipc.ExitBusy, ipc.ExitVersion, ipc.ExitForbidden, ipc.ExitConfiguration, ipc.ExitTimedOut, ipc.ExitNotRun, ipc.ExitInterrupted,
	}
	for _, kind := range ipc.Kinds() {
		if !slices.Contains(client, kind.ExitCode()) {
			t.Errorf("kind %s has exit code %d, which this test does not know", kind, kind.ExitCode())
		}
	}
	daemon := slices.DeleteFunc(slices.Clone(client), func(code int) bool {
		return code == ipc.ExitNoDaemon || code == ipc.ExitVersion || code == ipc.ExitInterrupted
	})
	for name, codes := range map[string][]int{"dispatchctl.1": client, "dispatch-notify.1": client, "dispatchd.8": daemon} {
		var want, got []string
		for _, code := range codes {
			want = append(want, fmt.Sprint(code))
		}
		for _, it := range readPage(t, name).sections["EXIT STATUS"] {
			got = append(got, it.head)
		}
		same(t, "exit codes of "+name, got, want)
	}
}

// definition writes a dispatcher's file, and loads it.
func definition(t *testing.T, keys ...string) (*dispatchers.Spec, []dispatchers.Fault) {
	t.Helper()
	dir := t.TempDir()
	text := strings.Join(keys, "\n") + "\n"
	if !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "script") }) {
		text = "command = [\"/bin/true\"]\n" + text
	}
	if err := os.WriteFile(filepath.Join(dir, "x.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := dispatchers.Load(dispatchers.Options{Dirs: []string{dir}, TrustUID: os.Geteuid()})
	spec := c.Specs["x"]
	if spec != nil {
		spec.Origin = ""
	}
	return spec, c.Faults
}

// beside is what a key needs beside it to mean something.
func beside(key string) []string {
	switch key {
	case "jitter", "catch_up", "overlap":
		return []string{`schedule = "daily"`}
	case "package_includes":
		return []string{`script = "true"`}
	}
	if strings.HasPrefix(key, "cache.") {
		return []string{"cache = {}"}
	}
	return nil
}

// keysIn are the keys that a schema knows, those of tables with a dot.
func keysIn(t *testing.T, schema any, table string) []string {
	t.Helper()
	text, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	var object struct{ Properties map[string]any }
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for name, value := range object.Properties {
		below := keysIn(t, value, table+name+".")
		if len(below) == 0 {
			below = []string{table + name}
		}
		keys = append(keys, below...)
	}
	return keys
}

// TestPageOfDispatchers: every key of a dispatcher's file is in the page, and no
// other; a default that the page says changes nothing when it is written out, and
// a key whose default is in force has one said, unless it follows from timeout.
func TestPageOfDispatchers(t *testing.T) {
	documented := readPage(t, "dispatcher.toml.5").keys()
	same(t, "keys", slices.Collect(maps.Keys(documented)), keysIn(t, dispatchers.FileSchema(), ""))
	for _, key := range slices.Sorted(maps.Keys(documented)) {
		bare, faults := definition(t, beside(key)...)
		if len(faults) > 0 {
			t.Fatalf("%s: %v", key, faults)
		}
		value, said := documented[key].said()
		if !said {
			if v, ok := inForce(bare, key); ok && key != "queue_timeout" && key != "timeout_max" && key != "script" && key != "command" {
				t.Errorf("%s: the page says no default, it is %v", key, v)
			}
			continue
		}
		with := append(beside(key), key+" = "+value)
		if strings.HasPrefix(key, "cache.") {
			with = []string{key + " = " + value}
		}
		full, faults := definition(t, with...)
		if len(faults) > 0 {
			t.Errorf("%s: the default that the page says is wrong: %v", key, faults)
		} else if diff := cmp.Diff(bare.Definition(), full.Definition()); diff != "" {
			t.Errorf("%s: the page says that %s is the default (-default +page):\n%s", key, value, diff)
		}
	}
}

// inForce is a key's value in a definition, false if it has none.
func inForce(s *dispatchers.Spec, key string) (any, bool) {
	m := s.Definition()
	table, name, ok := strings.Cut(key, ".")
	if ok {
		m, _ = m[table].(map[string]any)
	} else {
		name = table
	}
	v, ok := m[name]
	return v, ok
}

// loadSettings reads a dispatchd.toml of this text.
func loadSettings(t *testing.T, text string) (dispatchers.Settings, []dispatchers.Fault) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dispatchd.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dispatchers.LoadSettings(path)
}

// TestPageOfSettings: every key of dispatchd.toml is in the page with its default.
func TestPageOfSettings(t *testing.T) {
	documented := readPage(t, "dispatchd.toml.5").keys()
	same(t, "keys", slices.Collect(maps.Keys(documented)), keysIn(t, dispatchers.SettingsSchema(), ""))
	for key, it := range documented {
		value, said := it.said()
		if !said {
			t.Errorf("%s: the page says no default", key)
			continue
		}
		got, faults := loadSettings(t, key+" = "+value)
		if differing := got.Differing(dispatchers.DefaultSettings()); len(faults) > 0 || len(differing) > 0 {
			t.Errorf("%s: the page says that %s is the default: %v", key, value, faults)
		}
	}
}

// TestSettingsFile: the file that packages install has every key once, each with
// its default behind a #, but for the group that the package makes.
func TestSettingsFile(t *testing.T) {
	text, err := os.ReadFile("../../packaging/config/dispatchd.toml")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range regexp.MustCompile(`(?m)^(#?)([a-z_]+) = (.*)$`).FindAllStringSubmatch(string(text), -1) {
		keys = append(keys, m[2])
		if m[1] == "" {
			continue
		}
		got, faults := loadSettings(t, m[2]+" = "+m[3])
		if differing := got.Differing(dispatchers.DefaultSettings()); len(faults) > 0 || len(differing) > 0 {
			t.Errorf("%s = %s is not the default: %v", m[2], m[3], faults)
		}
	}
	same(t, "keys", keys, keysIn(t, dispatchers.SettingsSchema(), ""))
	got, faults := loadSettings(t, string(text))
	want := dispatchers.DefaultSettings()
	want.SocketGroup = "dispatchd"
	if len(faults) > 0 || len(got.Differing(want)) > 0 {
		t.Errorf("the file sets %v: %v", got.Differing(dispatchers.DefaultSettings()), faults)
	}
}
