//go:build pfsense

package pfsense

import "testing"

// What a call of spawn_process() costs its caller, in each mode: the one figure in
// which the original is ahead.
func TestRealSpawnCost(t *testing.T) {
	needFirewall(t)
	const code = `require_once "RESTAPI/autoloader.inc"; $all = [];
for ($i = 0; $i < 20; $i++) {
	$d = new RESTAPI\Dispatchers\FirewallApplyDispatcher(); $t = hrtime(true); $d->spawn_process(n: $i); $all[] = (hrtime(true) - $t) / 1e6;
	while ($d->get_running_processes()) usleep(20000); // the next call has the machine for itself
}
sort($all); printf("%.2f ms in the median, %.2f at the 90th percentile", $all[10], $all[18]);`
	for _, m := range []mode{original, dropIn, native} {
		p := m.in(t, "")
		out, err := p.run(nil, "php", "-r", code)
		if err != nil {
			t.Errorf("%s: %v %s", m, err, out)
		}
		p.until(func() bool { return len(p.leftLocks()) == 0 })
		t.Logf("%s: %s", m, out)
		if m != original {
			p.settle()
		}
	}
}
