package launch

import (
	"os"
	"path/filepath"
	"testing"
)

// A zone is named by the link that the machine's file is, as its admin set it.
func TestZoneOf(t *testing.T) {
	dir := t.TempDir()
	zones := filepath.Join(dir, "usr/share/zoneinfo")
	for _, name := range []string{"Europe/Kyiv", "UTC"} {
		path := filepath.Join(zones, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("TZif2"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, target string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link("usr/share/zoneinfo/Europe/Kiev", "Kyiv")
	chosen := link("chosen", "usr/share/zoneinfo/Europe/Kyiv")
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("TZif2"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		link("absolute", filepath.Join(zones, "Europe/Kyiv")): "Europe/Kyiv",
		link("relative", "usr/share/zoneinfo/UTC"):            "UTC",
		link("old", filepath.Join(zones, "Europe/Kiev")):      "Europe/Kiev",
		link("twice", chosen):                                 "Europe/Kyiv",
		plain:                                                 ":" + plain,
		link("dangling", filepath.Join(zones, "Gone")):        "UTC",
		filepath.Join(dir, "none"):                            "UTC",
	} {
		if got := zoneOf(path); got != want {
			t.Errorf("%s: %q, want %q", filepath.Base(path), got, want)
		}
	}
}

// The daemon's own TZ goes before the machine's zone; an empty one is UTC.
func TestSystemZone(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	if got := SystemZone(); got != "Asia/Tokyo" {
		t.Errorf("it is %q", got)
	}
	t.Setenv("TZ", "")
	if got := SystemZone(); got != "UTC" {
		t.Errorf("an empty TZ is %q", got)
	}
	_ = os.Unsetenv("TZ")
	if got := SystemZone(); got == "" {
		t.Error("without TZ there is none")
	}
}
