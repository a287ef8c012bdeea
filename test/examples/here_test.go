//go:build packages

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestAptHere compares the answer with what apt, another program with another
// format, says about the same machine.
func TestAptHere(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("this machine has no apt")
	}
	if lists, _ := filepath.Glob("/var/lib/apt/lists/*_Packages*"); len(lists) == 0 {
		t.Skip("this machine has no lists of packages")
	}
	cmd := exec.CommandContext(t.Context(), "apt", "list", "--upgradable")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	type versions struct {
		installed, available string
		security             bool
	}
	listed := map[string]versions{}
	for _, m := range regexp.MustCompile(`(?m)^([^/\n]+)/(\S+) (\S+) \S+ \[upgradable from: (\S+)\]$`).FindAllStringSubmatch(string(out), -1) {
		listed[m[1]] = versions{m[4], m[3], strings.Contains(m[2], "-security")}
	}
	data := answer[updates](t, read(t, "package-updates"), nil)
	if data.Manager != "apt" || data.Age == nil || *data.Age < 0 {
		t.Errorf("manager %q, age %v", data.Manager, data.Age)
	}
	if data.Count != len(data.Updates) || data.Count > len(listed) || data.Count == 0 && len(listed) > 20 {
		t.Errorf("%d counted, %d updates, apt lists %d", data.Count, len(data.Updates), len(listed))
	}
	security := 0
	for _, u := range data.Updates {
		want, ok := listed[strings.Split(u.Name, ":")[0]]
		if got := (versions{u.Installed, u.Available, *u.Security}); !ok || got != want {
			t.Errorf("%s: %+v, apt says %+v (%v)", u.Name, got, want, ok)
		}
		if *u.Security {
			security++
		}
	}
	if data.Security == nil || *data.Security != security {
		t.Errorf("security is %v, %d of the updates are", data.Security, security)
	}
	t.Logf("%d updates, %d for security, lists %s old", data.Count, security, time.Duration(*data.Age)*time.Second)
}
