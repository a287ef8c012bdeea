package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// How the REST API package is: hooked or not, cron's or not, and which of its
// classes the daemon does not know.
func TestRestapi(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) string {
		return map[string]string{"RESTAPI_DIR": dir, "CRONTAB": filepath.Join(dir, "crontab"), "DISPATCHD_CHOSEN": filepath.Join(dir, "mode")}[name]
	}
	if findRestapi(env) != nil {
		t.Error("found what is not installed")
	}
	const (
		core, manage, script = "Core/Dispatcher.inc", ".resources/scripts/manage.php", ".resources/scripts/dispatch.sh"
		entry                = "1 * * * * root /usr/local/pkg/RESTAPI/.resources/scripts/manage.php refreshcache A\n"
	)
	write("Dispatchers/KnownDispatcher.inc", "")
	write("Dispatchers/NamedDispatcher.inc", "")
	write("Caches/NewCache.inc", "")
	for _, c := range []struct {
		core, manage, script, crontab, chosen string
		words, level, found                   string
	}{
		{"<?php\n", "", "#!/bin/sh\n", entry, "", "not on the daemon, its own", levelBad, "not on the daemon"},
		{"<?php\n", "", "#!/bin/sh\n", "", "off\n", "as was chosen", levelNote, "chosen by hand"},
		{"    # dispatchd: begin\n", "# dispatchd lock: begin\n", "", "#" + entry, "", "native, its schedules", levelNote, "class NewCache"},
		{"    # dispatchd: begin\n", "", "", "", "", "native, its schedules", levelNote, "notifydispatcher of this version"},
		{"    # dispatchd: begin\n", "# dispatchd lock: begin\n", "", entry, "", "native, but cron", levelBad, "cron runs classes"},
		{"    # dispatchd lock: begin\n", "# dispatchd lock: begin\n", "#!/bin/sh\n# Stands in the place of the REST API package's\n", "", "", "drop-in, its", levelOK, "(drop-in)"},
	} {
		for name, text := range map[string]string{core: c.core, manage: c.manage, script: c.script, "crontab": c.crontab, "mode": c.chosen} {
			write(name, text)
		}
		r := findRestapi(env)
		d := &doctor{all: []ipc.Dispatcher{{Name: "KnownDispatcher"}, {Name: "x", Definition: map[string]any{"php_class": `RESTAPI\Dispatchers\NamedDispatcher`}}}}
		d.restapi(r)
		hit := false
		for _, f := range d.found {
			hit = hit || f.Level == c.level && strings.Contains(f.What, c.found)
			if strings.Contains(f.What, "KnownDispatcher") || strings.Contains(f.What, "NamedDispatcher") {
				t.Errorf("of what is known: %s", f.What)
			}
		}
		if !strings.Contains(r.words(), c.words) || !hit {
			t.Errorf("%q: %s\n%+v", c.found, r.words(), d.found)
		}
	}
}
