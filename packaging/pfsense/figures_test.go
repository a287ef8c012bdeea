//go:build pfsense

package pfsense

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// mode is a way in which the package's entries are run.
type mode string

const (
	original mode = "the original"
	dropIn   mode = "drop-in"
	native   mode = "native"
)

// in makes a box for a mode. Entries are not joined: the original cannot.
func (m mode) in(t *testing.T, env string) *firewall {
	t.Helper()
	p := newFirewall(t, "lazy", packages+env)
	p.dropIn = m == dropIn
	at(t, p.path("tmp/dd")).Write("dispatchers.d/FirewallApplyDispatcher.d/test.toml", "coalesce = false\n")
	if m == native {
		p.hook()
	}
	if m != original {
		p.start()
	}
	return p
}

// spawnTen has one PHP start ten entries, as ten calls of the API would.
func (p *firewall) spawnTen(env ...string) {
	p.t.Helper()
	ten := `require_once "RESTAPI/autoloader.inc"; for ($i = 0; $i < 10; $i++) { (new RESTAPI\Dispatchers\FirewallApplyDispatcher())->spawn_process(); }`
	if out, err := p.run(env, "php", "-r", ten); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
}

// census finds the box's processes: those that inherited its environment, and
// all below the daemon. It gives how many there are and their memory in MiB,
// shared pages counted in parts.
func (p *firewall) census() (processes int, mib float64) {
	mine, parent := map[int]bool{}, map[int]int{}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		env, _ := os.ReadFile(dir + "/environ")
		stat, _ := os.ReadFile(dir + "/stat")
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[0] != "Z" {
			parent[pid], _ = strconv.Atoi(fields[1])
			mine[pid] = bytes.Contains(env, []byte("PFBOX_STATE="+p.state+"\x00"))
		}
	}
	for pid := range parent {
		for up := pid; up > 1; up = parent[up] {
			if mine[up] {
				processes++
				mib += pss(pid)
				break
			}
		}
	}
	return processes, mib
}

// pss is the memory of a process in MiB.
func pss(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}

// Ten entries that are queued: what they cost in each mode, in one test.
func TestRealQueueCost(t *testing.T) {
	needFirewall(t)
	cost := map[mode]float64{}
	for _, m := range []mode{original, dropIn, native} {
		t.Run(string(m), func(t *testing.T) {
			p := m.in(t, "[ ! -e /tmp/slow ] || export PFSTUB_SLEEP=1000\n")
			if m != original { // what starts by itself is not what is measured
				for _, name := range []string{"AvailablePackageCache", "PrivilegesCache", "RESTAPIVersionReleasesCache"} {
					if _, err := p.client.Pause(t.Context(), name, true); err != nil {
						t.Fatal(err)
					}
				}
				p.settle()
			}
			at(t, p.state).Write("tmp/slow", "")
			p.spawnTen("PFSTUB_SLEEP=1000")
			p.begun(0)
			wanted := map[mode]int{original: 30, dropIn: 11, native: 1}[m]
			last, same := 0, 0 // who asked has to be gone too
			p.until(func() bool {
				n, _ := p.census()
				if n != last {
					last, same = n, 0
				}
				same++
				return n >= wanted && same > 20
			})
			n, mib := p.census()
			cost[m] = mib
			t.Logf("%s: ten entries are %d processes and %.1f MiB", m, n, mib)
			if m == original {
				p.endOriginal()
				return
			}
			if n >= 30 {
				t.Errorf("%d processes", n)
			}
			if _, err := p.run(nil, "dispatchctl", "cancel", "FirewallApplyDispatcher"); err != nil {
				t.Logf("cancel: %v", err)
			}
		})
	}
	if cost[native] >= cost[original] {
		t.Errorf("the daemon costs %.1f MiB, the original %.1f", cost[native], cost[original])
	}
}

// endOriginal ends the entries of the original that the test itself started.
func (p *firewall) endOriginal() {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		env, _ := os.ReadFile(path)
		if pid, _ := strconv.Atoi(strings.Split(path, "/")[2]); bytes.Contains(env, []byte("PFBOX_STATE="+p.state+"\x00")) {
			_ = killHard(pid)
		}
	}
}

// Ten operations of half a second each: how long they take together.
func TestRealTenInARow(t *testing.T) {
	const half = "PFSTUB_SLEEP_filter_configure_sync=0.5"
	for _, m := range []mode{original, dropIn, native} {
		t.Run(string(m), func(t *testing.T) {
			p := m.in(t, "export "+half+"\n")
			p.spawnTen(half)
			p.until(func() bool { _, ends := tally(p.calls("filter_configure_sync")); return ends == 10 })
			p.until(func() bool { return m == original || len(p.leftLocks()) == 0 })
			calls := p.calls("filter_configure_sync")
			overlaps, _ := tally(calls)
			took := calls[len(calls)-1].At - calls[0].At
			t.Logf("%s: ten runs of 0.5 s took %.2f s, %d overlaps", m, took, overlaps)
			if m != original && (took > 8 || overlaps > 0) {
				t.Errorf("%.2f s, %d overlaps", took, overlaps)
			}
			if m == original {
				p.endOriginal()
			}
		})
	}
}

// reader reads a file over and over, and counts what is no whole JSON.
type reader struct {
	stop, done  chan struct{}
	reads, torn int
}

func read(path string) *reader {
	r := &reader{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			select {
			case <-r.stop:
				return
			default:
			}
			if text, err := os.ReadFile(path); err == nil {
				r.reads++
				if !json.Valid(text) {
					r.torn++
				}
			}
		}
	}()
	return r
}

func (r *reader) end() {
	close(r.stop)
	<-r.done
}

// A cache is rewritten again and again under the eyes of a reader: with the
// daemon neither its file nor the package's own is ever torn.
func TestRealTornCache(t *testing.T) {
	rewrites := 50
	if n, err := strconv.Atoi(os.Getenv("DISPATCHD_REWRITES")); err == nil {
		rewrites = n
	}
	p := newFirewall(t, "lazy", packages+"[ -e /tmp/limited ] && export PFSTUB_HTTP_BODY='{\"message\":\"API rate limit exceeded\"}' || export PFSTUB_HTTP_BODY=\"$(cat /tmp/body)\"\n")
	body := `[{"tag_name":"v1","name":"` + strings.Repeat("x", 90<<10) + `","assets":[]}]`
	at(t, p.state).Write("tmp/body", body)
	const name = "RESTAPIVersionReleasesCache"
	class, err := os.ReadFile(filepath.Join(p.src, "pfSense-pkg-RESTAPI/files/usr/local/pkg/RESTAPI/Caches", name+".inc"))
	if err != nil || !bytes.Contains(class, []byte("http_request")) {
		t.Skip("this version fetches its data by a command, and keeps whatever comes")
	}
	p.start()
	theirs := filepath.Join("cache", name+".json")
	ours, plain := read(p.path("tmp/dd/cache/"+name+".json")), read(p.path(theirs))
	b := p.at(t)
	for range rewrites {
		if job := b.Await(b.Notify(name, "").ID); job.State != ipc.Succeeded {
			t.Fatalf("%s %+v", job.State, job.Error)
		}
	}
	ours.end()
	plain.end()
	if ours.torn > 0 || plain.torn > 0 || ours.reads == 0 || plain.reads == 0 {
		t.Errorf("torn: %d of %d reads of the daemon's file, %d of %d of the package's", ours.torn, ours.reads, plain.torn, plain.reads)
	}
	t.Logf("%d rewrites: %d reads of the daemon's file, %d torn; %d of the package's, %d torn", rewrites, ours.reads, ours.torn, plain.reads, plain.torn)

	// A limited answer keeps what was known, here and there.
	b.Write("tmp/limited", "")
	before := b.Read(theirs)
	job := b.Await(b.Notify(name, "").ID)
	out, _ := p.run(nil, "dispatchctl", "cache", "get", name)
	if strings.Contains(out, "rate limit") || !strings.Contains(out, "xxxx") || b.Read(theirs) != before {
		t.Errorf("after a limited answer (%s): %.100s", job.State, out)
	}

	// The original, for comparison: the control that must be torn.
	loop := fmt.Sprintf(`require_once "RESTAPI/autoloader.inc"; for ($i = 0; $i < %d; $i++) { (new RESTAPI\Caches\%s())->process(); }`, rewrites, name)
	control := read(p.path(theirs))
	out, err = p.run([]string{"PFSTUB_HTTP_BODY=" + body}, "php", "-r", loop)
	control.end()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("the original: %d of %d reads torn in %d rewrites", control.torn, control.reads, rewrites)
}

// Bursts of the original, for comparison with TestRealBurst.
func TestRealOriginalBurst(t *testing.T) {
	p := original.in(t, "")
	overlapping, runs := 0, 0
	for range 3 {
		before := len(p.calls("get_pkg_info", "filter_configure_sync"))
		loop := "for i in $(seq 24); do php -r \"$SPAWN\" & done; wait"
		if out, err := p.run([]string{"SPAWN=" + spawn, "CLASS=FirewallApplyDispatcher", "PFSTUB_SLEEP=0.2"}, "bash", "-c", loop); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		p.settleOriginal()
		overlaps, ends := tally(p.calls("filter_configure_sync")[before:])
		overlapping, runs = overlapping+overlaps, runs+ends
	}
	t.Logf("the original: %d of %d runs of three bursts began beside another", overlapping, runs)
}

// settleOriginal waits until no entry of the original is left.
func (p *firewall) settleOriginal() {
	p.t.Helper()
	p.until(func() bool { n, _ := p.census(); return n == 0 })
}
