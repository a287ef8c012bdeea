//go:build pfsense

package pfsense

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/dispatchers"
)

// shipped loads the definitions that are shipped.
func shipped(t *testing.T) map[string]*dispatchers.Spec {
	t.Helper()
	catalog := dispatchers.Load(dispatchers.Options{
		Dirs: []string{filepath.Join(source, "dispatchers.d")}, TrustUID: os.Geteuid(), SkipOwnership: true,
	})
	for _, f := range catalog.Faults {
		t.Error(f.Render())
	}
	return catalog.Specs
}

// excludes reports whether two dispatchers can never run at the same time.
func excludes(a, b *dispatchers.Spec) bool {
	return overlaps(a.Exclusive, slices.Concat(b.Exclusive, b.Shared)) || overlaps(b.Exclusive, a.Shared)
}

func overlaps(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

// All definitions are good, and who must not run beside whom does not.
func TestDefinitions(t *testing.T) {
	all := shipped(t)
	if len(all) != 25 {
		t.Fatalf("%d definitions: %s", len(all), slices.Sorted(maps.Keys(all)))
	}
	groups := map[string][]string{
		"filter":  {"FirewallApply", "FirewallStateTableReset", "TrafficShaperApply", "VirtualIPApply"},
		"dns":     {"DNSResolverApply", "DNSForwarderApply", "DHCPServerApply", "SystemHostnameApply"},
		"routing": {"RoutingApply"}, "ipsec": {"IPsecApply"}, "wireguard": {"WireGuardApply"},
		"haproxy": {"HAProxyApply"}, "bind": {"BINDApply"},
		"acme": {"ACMEAccountKeyRegister", "ACMECertificateIssue", "ACMECertificateRenew"},
	}
	of := func(name string) *dispatchers.Spec {
		s := all[name+"Dispatcher"]
		if s == nil {
			t.Fatalf("no %sDispatcher", name)
		}
		return s
	}
	for group, names := range groups {
		for _, name := range names {
			s := of(name)
			if !slices.Contains(s.Exclusive, group) {
				t.Errorf("%s does not have the lock %s for itself", name, group)
			}
			if group != "acme" && !excludes(s, of("InterfaceApply")) {
				t.Errorf("%s runs beside a change of interfaces", name)
			}
			for _, system := range []string{"SystemReboot", "SystemHalt"} {
				if !excludes(s, of(system)) {
					t.Errorf("%s runs beside %s", name, system)
				}
			}
			if excludes(s, of("SystemUpdate")) {
				t.Errorf("an update that hangs stops %s", name)
			}
			for other, members := range groups {
				for _, m := range members {
					if together := excludes(s, of(m)); together != (group == other) {
						t.Errorf("%s and %s exclude each other: %v", name, m, together)
					}
				}
			}
		}
	}
	if !excludes(of("SystemUpdate"), of("SystemReboot")) || !excludes(of("SystemUpdate"), of("SystemHalt")) || !excludes(of("SystemReboot"), of("SystemHalt")) {
		t.Error("the machine goes down under an update, or twice")
	}
	if !excludes(of("SystemUpdate"), all["AvailablePackageCache"]) || !slices.Contains(of("RoutingApply").Exclusive, "openvpn") {
		t.Error("the packages and OpenVPN are not guarded")
	}
}

// Requests are joined where that loses nothing, and nothing that was accepted
// is given up for waiting.
func TestDefinitionsRules(t *testing.T) {
	keys := map[string][]string{
		"ACMEAccountKeyRegisterDispatcher": {"id"}, "ACMECertificateIssueDispatcher": {"certificate"}, "ACMECertificateRenewDispatcher": {"certificate"},
	}
	single := []string{"SystemUpdateDispatcher", "SystemRebootDispatcher", "SystemHaltDispatcher"}
	for name, s := range shipped(t) {
		// A reboot that waits says in the end what for.
		bound := time.Duration(0)
		if name == "SystemRebootDispatcher" || name == "SystemHaltDispatcher" {
			bound = 10 * time.Minute
		}
		if s.PHPClass != name || s.QueueTimeout != bound {
			t.Errorf("%s: class %s, queue_timeout %s", name, s.PHPClass, s.QueueTimeout)
		}
		if s.Coalesce == slices.Contains(single, name) {
			t.Errorf("%s: coalesce %v", name, s.Coalesce)
		}
		if diff := cmp.Diff(keys[name], s.CoalesceKey); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		text, err := os.ReadFile(filepath.Join(source, "dispatchers.d", name+".toml"))
		if err != nil || !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s gives no reasons: %v", name, err)
		}
	}
	if s := shipped(t)["SystemUpdateDispatcher"]; s.Timeout != 0 || !s.KillMode.Never() || !s.SurviveRestart {
		t.Errorf("an update can be killed: %+v", s)
	}
}

// The shipped files say what the classes of the package say: PFREST_SRC.
func TestDefinitionsAgree(t *testing.T) {
	src := os.Getenv("PFREST_SRC")
	if src == "" {
		t.Skip("PFREST_SRC names no checkout of the REST API package")
	}
	all := shipped(t)
	d := describe(t, src)
	if len(d.Broken) > 0 {
		t.Errorf("broken: %v", d.Broken)
	}
	for _, c := range d.Classes {
		s := all[c.Name]
		if s == nil {
			t.Errorf("%s has no definition", c.Name)
			continue
		}
		if want := time.Duration(c.Timeout) * time.Second; s.Timeout != want && s.Timeout != 0 {
			t.Errorf("%s: timeout %s, the class has %s", c.Name, s.Timeout, want)
		}
		if (c.Kind == "cache") != (s.Cache != nil) || s.MaxQueue != c.MaxQueue && c.MaxQueue != 10 {
			t.Errorf("%s: cache %v, max_queue %d: %+v", c.Name, s.Cache, s.MaxQueue, c)
		}
		if text, _ := json.Marshal(s.Schedule); len(s.Schedule) == 0 != (c.Schedule == "") {
			t.Errorf("%s: schedule %s, the class has %q", c.Name, text, c.Schedule)
		}
		var names []string
		for _, i := range c.Includes {
			names = append(names, "/usr/local/pkg/"+i.Name)
		}
		if !slices.Equal(names, s.PackageIncludes) {
			t.Errorf("%s: %s", c.Name, cmp.Diff(names, s.PackageIncludes))
		}
	}
}
