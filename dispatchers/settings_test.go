package dispatchers

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoadSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dispatchd.toml")
	got, faults := LoadSettings(path)
	if diff := cmp.Diff(DefaultSettings(), got); diff != "" || len(faults) > 0 {
		t.Errorf("missing file: %v %s", faults, diff)
	}
	write(t, path, `
socket_group = "wheel"
durability = "relaxed"
max_running = 4
history_age = "48h"
log_bytes = "1 MiB"
path = "/opt/bin:/bin"
package_manager = "dpkg"
php = "/opt/bin/php"
php_bridge = "/opt/bridge.php"
php_loader = "lazy"
`)
	want := DefaultSettings()
	want.SocketGroup, want.Durability, want.MaxRunning, want.HistoryAge = "wheel", "relaxed", 4, 48*time.Hour
	want.LogBytes, want.Path, want.PackageManager = 1<<20, "/opt/bin:/bin", "dpkg"
	want.PHP, want.PHPBridge, want.PHPLoader = "/opt/bin/php", "/opt/bridge.php", "lazy"
	got, faults = LoadSettings(path)
	if diff := cmp.Diff(want, got); diff != "" || len(faults) > 0 {
		t.Errorf("%v\n%s", faults, diff)
	}
}

func TestLoadSettingsFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "dispatchd.toml")
	write(t, path, `durabilty = "disk"
max_connections = 0
path = "/bin:bin"
log_level = "verbose"
history_age = 5
php = "bin/php"
php_bridge = "bridge.php"
x = [`)
	_, faults := LoadSettings(path)
	var got []string
	for _, f := range faults {
		got = append(got, strings.TrimPrefix(f.Error(), dir+"/"))
	}
	want := []string{
		"dispatchd.toml:1:1: durabilty: unknown key (did you mean durability?)",
		"dispatchd.toml:2:19: max_connections: 0 is too small, want at least 1",
		"dispatchd.toml:3:8: path: want absolute directories with colons between",
		`dispatchd.toml:4:13: log_level: "verbose" is not one of debug, info, warn, error`,
		"dispatchd.toml:5:15: history_age: 5s is too short, want at least 1m",
		"dispatchd.toml:6:7: php: want an absolute path or the bare name of a program",
		"dispatchd.toml:7:14: php_bridge: want an absolute path",
		"dispatchd.toml:8:5: TOML: array is incomplete",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, faults := LoadSettings(path); len(faults) != 1 || !strings.Contains(faults[0].Error(), "chmod go-w") {
		t.Errorf("a file for all is believed: %v", faults)
	}
}

// Each field of Settings has a row, and a reload names the keys that differ.
func TestDiffering(t *testing.T) {
	other := DefaultSettings()
	for i := range reflect.TypeFor[Settings]().NumField() {
		changed := DefaultSettings()
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		default:
			f.SetInt(1)
		}
		if got := changed.Differing(other); len(got) != 1 {
			t.Errorf("a change of field %s differs in %v: it has no row", reflect.TypeFor[Settings]().Field(i).Name, got)
		}
	}
	if got := DefaultSettings().Differing(other); len(got) > 0 {
		t.Errorf("the same settings differ in %v", got)
	}
	other.SocketGroup, other.HistoryAge = "wheel", time.Hour
	if got, want := DefaultSettings().Differing(other), []string{"history_age", "socket_group"}; !slices.Equal(got, want) {
		t.Errorf("differing %v, want %v", got, want)
	}
}
