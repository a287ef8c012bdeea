package main

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"dispatchd/ipc"
)

// restapi is how the pfSense REST API package is: on the daemon by lines in its
// files, or not (dispatchd-restapi). An update of it takes it off.
type restapi struct {
	mode    string   // native, drop-in, or "": its own way
	chosen  string   // what somebody chose by hand, "" = nothing
	cron    bool     // cron runs its classes
	guarded bool     // its command takes the dispatchers' locks
	classes []string // those that it has
}

// restapiCron is an entry of the package in a crontab.
var restapiCron = regexp.MustCompile(`(?m)^[^#\n]*(?:manage\.php|pfsense-restapi) (?:notifydispatcher|refreshcache) `)

// findRestapi looks for the package, nil = it is not installed. The variables are
// those of dispatchd-restapi.
func findRestapi(getenv func(string) string) *restapi {
	dir := cmp.Or(getenv("RESTAPI_DIR"), "/usr/local/pkg/RESTAPI")
	core, err := os.ReadFile(filepath.Join(dir, "Core/Dispatcher.inc"))
	if err != nil {
		return nil
	}
	has := func(path, text string) bool {
		data, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(data), text)
	}
	scripts := filepath.Join(dir, ".resources/scripts")
	r := &restapi{guarded: has(scripts+"/manage.php", "# dispatchd lock: begin\n")}
	switch {
	case strings.Contains(string(core), "# dispatchd: begin\n"):
		r.mode = "native"
	case has(scripts+"/dispatch.sh", "\n# Stands in the place of the REST API package"):
		r.mode = "drop-in"
	}
	chosen, _ := os.ReadFile(cmp.Or(getenv("DISPATCHD_CHOSEN"), "/usr/local/etc/dispatchd/restapi.mode"))
	r.chosen = strings.TrimSpace(string(chosen))
	crontab, _ := os.ReadFile(cmp.Or(getenv("CRONTAB"), "/etc/crontab"))
	r.cron = restapiCron.Match(crontab)
	for _, below := range []string{"Dispatchers", "Caches"} {
		files, _ := filepath.Glob(filepath.Join(dir, below, "*.inc"))
		for _, f := range files {
			r.classes = append(r.classes, strings.TrimSuffix(filepath.Base(f), ".inc"))
		}
	}
	return r
}

// words say it in a line.
func (r *restapi) words() string {
	switch {
	case r.mode == "" && r.chosen == "off":
		return "REST API: not on the daemon, as was chosen; dispatchd-restapi on puts it there"
	case r.mode == "":
		return "REST API: not on the daemon, its own schedules and locks are in force; run: dispatchd-restapi on"
	case r.cron:
		return "REST API: " + r.mode + ", but cron runs it too; run: dispatchd-restapi on"
	}
	return "REST API: " + r.mode + ", its schedules are the daemon's"
}

// restapi checks that the pfSense REST API package is on the daemon, and that the
// daemon knows its classes.
func (d *doctor) restapi(r *restapi) {
	const on = "dispatchd-restapi on"
	switch {
	case r.mode == "" && r.chosen == "off":
		d.note("restapi_off_by_hand", on, "the REST API package is not on the daemon, as was chosen by hand")
		return
	case r.mode == "":
		d.bad("restapi_off", on, "the REST API package is not on the daemon: its own schedules and locks are in force, as after an update of it")
		return
	case r.cron:
		d.bad("restapi_cron", on, "cron runs classes of the REST API package beside the daemon's schedules")
	default:
		d.ok("restapi", "the REST API package is on the daemon (%s), and so are its schedules", r.mode)
	}
	if !r.guarded {
		d.note("restapi_command", "use dispatchctl run NAME instead", "the command pfsense-restapi notifydispatcher of this version of the REST API package takes no lock of the daemon's")
	}
	for _, class := range r.classes {
		known := func(v ipc.Dispatcher) bool {
			named, _ := v.Definition["php_class"].(string)
			return v.Name == class || named[strings.LastIndexByte(named, '\\')+1:] == class
		}
		if len(d.all) > 0 && !slices.ContainsFunc(d.all, known) {
			d.note("restapi_class_unimported", "dispatchctl import pfsense; dispatchctl reload", "class %s of the REST API package has no dispatcher: it runs in the package's own way", class)
		}
	}
}
