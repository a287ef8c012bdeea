//go:build pfsense

package pfsense

import (
	"os/exec"
	"strings"
	"sync"
	"testing"

	"dispatchd/ipc"
)

// guard has the box's copy of the package take locks at its other doors.
func (p *firewall) guard() {
	p.t.Helper()
	const files = "pfSense-pkg-RESTAPI/files"
	b := at(p.t, p.t.TempDir())
	b.copyTree(p.src+"/"+files, files)
	p.src = b.Dir
	at(p.t, p.path("tmp/dd")).phpClient()
	if out, code := hook(p.t, "guard", b.Path(files+"/usr/local/pkg/RESTAPI"), "--native=/tmp/dd/php/Native.php"); code != 0 || strings.Contains(out, "not guarded") {
		p.t.Fatal(out)
	}
}

// The package's own command and a job never run the same class at the same time,
// whoever comes first, with our lines in the command and without.
func TestRealCommandBesideJob(t *testing.T) {
	const slow = "export PFSTUB_SLEEP=0.7\n"
	for name, prepare := range map[string]func(*firewall){
		"drop-in, no lines": func(p *firewall) { p.dropIn = true },
		"drop-in":           func(p *firewall) { p.dropIn = true; p.guard() },
		"native":            func(p *firewall) { p.dropIn = false; p.hook() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newFirewall(t, "lazy", packages+slow)
			prepare(p)
			p.start()
			command := func() *exec.Cmd {
				cmd := p.in(t.Context(), []string{"PFSTUB_SLEEP=0.7"}, "pfsense-restapi", "notifydispatcher", "FirewallApplyDispatcher")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd
			}
			job := func() string { return p.at(t).Notify("FirewallApplyDispatcher", `{"n":1}`).ID }
			before := len(p.calls("filter_configure_sync"))
			first := command()
			p.begun(before)
			p.at(t).Await(job())
			_ = first.Wait()
			before = len(p.calls("filter_configure_sync"))
			id := job()
			p.begun(before)
			second := command()
			p.at(t).Await(id)
			_ = second.Wait()
			p.settle()
			if overlaps, ends := tally(p.calls("filter_configure_sync")); overlaps > 0 || ends != 4 {
				t.Errorf("%d overlaps, %d runs", overlaps, ends)
			}
			if left := p.leftLocks(); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// All doors of the package at the same time: no run of the class meets another.
func TestRealDoors(t *testing.T) {
	for name, prepare := range map[string]func(*firewall){
		"drop-in": func(p *firewall) { p.dropIn = true; p.guard() },
		"native":  func(p *firewall) { p.dropIn = false; p.hook() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newFirewall(t, "lazy", packages+"export PFSTUB_SLEEP=0.05\n")
			prepare(p)
			p.start()
			synchronous := strings.Replace(spawn, "new $c()", "new $c(async: false)", 1)
			doors := [][]string{
				{"php", "-r", spawn},
				{"php", "-r", synchronous},
				{"pfsense-restapi", "notifydispatcher", "FirewallApplyDispatcher"},
				{"dispatchctl", "notify", "FirewallApplyDispatcher"},
			}
			var all sync.WaitGroup
			for _, argv := range doors {
				for range 4 {
					all.Go(func() {
						if out, err := p.run([]string{"CLASS=FirewallApplyDispatcher", "PFSTUB_SLEEP=0.05"}, argv...); err != nil {
							t.Errorf("%s: %v %s", argv, err, out)
						}
					})
				}
			}
			all.Wait()
			p.settle()
			overlaps, ends := tally(p.calls("filter_configure_sync"))
			if overlaps > 0 || ends == 0 {
				t.Errorf("%d overlaps, %d runs", overlaps, ends)
			}
			for _, j := range p.jobs("FirewallApplyDispatcher") {
				if j.State != ipc.Succeeded {
					t.Errorf("%s: %s %+v", j.ID, j.State, j.Error)
				}
			}
			t.Logf("%d starts: %d runs, %d overlaps", 4*len(doors), ends, overlaps)
		})
	}
}
