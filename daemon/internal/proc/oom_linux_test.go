package proc

import "testing"

// The kernel's word of a kill is of that process, since it started, and of no other.
func TestOOMRecord(t *testing.T) {
	child := Identity{PID: 4711, Start: 500} // 5 s after boot
	for text, want := range map[string]bool{
		"6,1,5000000,-;Out of memory: Killed process 4711 (sh) total-vm:1kB":                true,
		"3,9,9000000,-;Memory cgroup out of memory: Killed process 4711 (php) total-vm:1kB": true,
		"6,1,4000000,-;Out of memory: Killed process 4711 (old) total-vm:1kB":               false,
		"6,1,5000000,-;Out of memory: Killed process 47110 (sh)":                            false,
		"6,1,5000000,-;oom-kill:constraint=CONSTRAINT_NONE,task=sh,pid=4711,uid=0":          false,
		"6,1;Out of memory: Killed process 4711 (sh)":                                       false,
		"": false,
	} {
		if got := isOOMRecord([]byte(text), child); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	for text, want := range map[string]int{"low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\n": 2, "oom_kill 0\n": 0, "": 0, "oom_kill x\n": 0} {
		if got := oomKills(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
