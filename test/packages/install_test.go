//go:build linux && packages

package packages

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/box"
	"dispatchd/test/service/testbed"
)

func TestMain(m *testing.M) {
	testbed.Enter()
	os.Exit(box.Main(m))
}

// admin is an admin at a machine.
type admin struct {
	*testbed.Box
	t      *testing.T
	client *client.Client
}

// installed is the life of a Debian package on a machine, installed, upgraded with
// jobs running, removed, installed again, purged, and that of an rpm after it.
func installed(t *testing.T, old, next map[string]string) {
	if why := testbed.MissingSystemd(); why != "" {
		t.Skip(why)
	}
	a := newAdmin(t, old, next)
	for _, fifo := range []string{"/run/began", "/run/gate"} {
		if err := unix.Mkfifo(a.Path(fifo), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, scene := range []struct {
		name string
		play func(*admin)
	}{
		{"install", install},
		{"forbidden", forbidden},
		{"upgrade", upgrade},
		{"refused", refused},
		{"hung", hung},
		{"socket", socket},
		{"remove", remove},
		{"again", again},
		{"purge", purge},
		{"rpm", rpmLife},
	} {
		done := t.Run(scene.name, func(t *testing.T) { scene.play(&admin{Box: a.Box, t: t, client: a.client}) })
		if !done {
			t.Log(a.shell("systemctl status --no-pager --full dispatchd.service || true; journalctl --no-pager -n 60 -u dispatchd"))
			return // each scene begins where the last one ended
		}
	}
}

// newAdmin starts a machine with an init, systemd if none is named, and brings the
// packages there.
func newAdmin(t *testing.T, old, next map[string]string, init ...string) *admin {
	t.Helper()
	a := &admin{Box: testbed.Start(t, init...), t: t}
	a.client = &client.Client{Socket: a.Path("/run/dispatchd/control.sock")}
	t.Cleanup(a.client.Close)
	a.shell("rm -f /usr/sbin/policy-rc.d")
	a.shell("cp /bin/true /usr/bin/mandb || true") // an index of all pages takes half a minute
	for _, format := range []string{"deb", "rpm", "apk"} {
		a.Put(t, old[format], "/root/old."+format)
		a.Put(t, next[format], "/root/next."+format)
	}
	return a
}

// shell is what a shell command says; it must do well.
func (a *admin) shell(command string) string {
	a.t.Helper()
	return strings.TrimSpace(a.Exec(a.t, "sh", "-ec", command))
}

// says wants a shell command to say this.
func (a *admin) says(command, want string) {
	a.t.Helper()
	out, code := a.Try(a.t, "sh", "-ec", command)
	if got := strings.TrimSpace(out); got != want {
		a.t.Errorf("%s: %q (exit %d), want %q", command, got, code, want)
	}
}

// dpkg installs, removes or purges.
func (a *admin) dpkg(arguments string) string {
	a.t.Helper()
	return a.shell("DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io --force-confdef --force-confold " + arguments + " </dev/null")
}

// define writes a dispatcher as an admin does.
func (a *admin) define(name, text string) {
	a.t.Helper()
	a.Write(a.t, "/etc/dispatchd/dispatchers.d/"+name+".toml", text, 0o644)
}

// pid is the daemon's process, as systemd knows it.
func (a *admin) pid() string { return a.shell("systemctl show --value -p MainPID dispatchd.service") }

// gated starts a job that stands at the gate, and waits until it does.
func (a *admin) gated() string {
	a.t.Helper()
	n, err := a.client.Notify(a.t.Context(), ipc.NotifyRequest{Dispatcher: "gate"})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := os.ReadFile(a.Path("/run/began")); err != nil { // waits for a writer
		a.t.Fatal(err)
	}
	return n.ID
}

// release lets the job at the gate go.
func (a *admin) release() {
	a.t.Helper()
	if err := os.WriteFile(a.Path("/run/gate"), []byte("go\n"), 0); err != nil {
		a.t.Fatal(err)
	}
}

// await waits for a job's end, but not for ever.
func (a *admin) await(id string) (ipc.Job, error) {
	return a.client.Await(a.t.Context(), id)
}

// state wants a job to be in a state now.
func (a *admin) state(id string, want ipc.State) {
	a.t.Helper()
	if job, err := a.client.Job(a.t.Context(), id); err != nil || job.State != want {
		a.t.Errorf("job %s: %s %+v (%v), want %s", id, job.State, job.Error, err, want)
	}
}

// install: the daemon runs, and its group may use it.
func install(a *admin) {
	a.dpkg("-i /root/old.deb")
	a.says("systemctl is-active dispatchd.service", "active")
	a.says("systemctl is-enabled dispatchd.service dispatchd.socket || true", "enabled\ndisabled")
	a.says("dispatchctl version", "dispatchctl 1.2.3~rc4\ndispatchd 1.2.3~rc4")
	a.says("stat -c '%a %U %G' /run/dispatchd/control.sock", "660 root dispatchd")
	// systemd gives a runtime directory that is not its user's and group's to them
	// before it runs ExecReload, and all that is in it.
	a.says("systemctl reload dispatchd.service && stat -c '%a %U %G' /run/dispatchd/control.sock", "660 root dispatchd")
	a.says("stat -c '%a %U %G' /run/dispatchd /run/dispatchd/locks", "755 root root\n755 root dispatchd")
	a.says("stat -c '%a %U %G' /var/lib/dispatchd", "700 root root")
	a.says("stat -c '%a %U %G' /var/cache/dispatchd", "755 root root")
	a.says("stat -c '%a %U %G' /etc/dispatchd/dispatchers.d", "755 root root")
	a.says("dispatchd check", "dispatchd check: no faults; no dispatchers good")
	a.says("systemd-analyze verify --man=yes dispatchd.service", "")
	a.says("man -w dispatchd dispatchd-shim dispatchctl dispatch-notify dispatchd.toml dispatcher.toml | wc -l", "6")
	a.says(`bash -c '. /usr/share/bash-completion/completions/dispatchctl && complete -p dispatchctl | grep -c dispatchctl'`, "1")
	a.shell("install -m 0644 /usr/share/doc/dispatchd/examples/dispatchers.d/*.toml /etc/dispatchd/dispatchers.d/")
	a.says("dispatchctl reload 2>/dev/null", "added: certificates, package-updates")
	a.shell("rm /etc/dispatchd/dispatchers.d/*.toml")
	a.define("quick", "max_queue = 0\nscript = 'echo $DISPATCHD_JOB_ID >>/run/ran'\n")
	a.define("gate", "script = '''\n: >/run/began\nread -r word </run/gate\n'''\n")
	a.shell("dispatchctl reload")
	if job := a.shell("runuser -u nobody -g dispatchd -- dispatch-notify --wait quick"); !strings.Contains(job, "succeeded") {
		a.t.Errorf("a member of the group: %s", job)
	}
	if out, code := a.Try(a.t, "runuser", "-u", "nobody", "--", "dispatch-notify", "quick"); code != ipc.ExitForbidden {
		a.t.Errorf("somebody else: exit %d, %s", code, out)
	}
}

// forbidden: a machine's policy that nothing is started is kept, in an upgrade as
// well.
func forbidden(a *admin) {
	a.Write(a.t, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
	started := a.shell("dispatchctl status --json | sed 's/.*\"started_at\":\"\\([^\"]*\\).*/\\1/'")
	a.dpkg("-i /root/old.deb")
	a.says("dispatchctl status --json | sed 's/.*\"started_at\":\"\\([^\"]*\\).*/\\1/'", started)
	a.shell("rm /usr/sbin/policy-rc.d")
}

// bare is a machine without systemd, such as a chroot: nothing is started or
// stopped there, but a daemon that somebody has started is upgraded.
func bare(t *testing.T, old, next map[string]string) {
	if why := testbed.Missing(); why != "" {
		t.Skip(why)
	}
	a := newAdmin(t, old, next, "/bin/sleep", "infinity")
	a.dpkg("-i /root/old.deb")
	a.says("getent group dispatchd | cut -d: -f1", "dispatchd")
	a.says("test -e /run/dispatchd/control.sock || echo not started", "not started")
	a.shell("dispatchd --ready-fd 3 3>/root/ready >/dev/null 2>&1 & until [ -s /root/ready ]; do kill -0 $!; done; echo $! >/root/pid")
	a.dpkg("-i /root/next.deb")
	a.says("dispatchctl version", "dispatchctl 1.2.4\ndispatchd 1.2.4")
	a.says("dispatchctl status | grep -c \"process $(cat /root/pid),\"", "1")
	a.shell("kill $(cat /root/pid)")
	a.dpkg("-r dispatchd")
	a.dpkg("-P dispatchd")
	a.says("find /etc /usr /var -path '*dispatchd*' | grep -v -e ^/var/cache/man | head -n 20", "")
}
