//go:build linux && packages

package packages

import (
	"strings"
	"sync"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// load notifies without a pause while fn runs, and gives all jobs that were
// accepted. One notify that is not is an error.
func (a *admin) load(fn func()) []string {
	a.t.Helper()
	var mu sync.Mutex
	var ids []string
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				id, err := box.Post(a.client.Socket, "quick")
				if err != nil {
					a.t.Errorf("notify: %v", err)
					return
				}
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
				// The queue is not to grow: each job is run before the test ends.
				if _, err := a.await(id); err != nil {
					a.t.Errorf("job %s: %v", id, err)
					return
				}
			}
		})
	}
	fn()
	close(stop)
	clients.Wait()
	return ids
}

// ended wants all jobs to have succeeded, each by one run.
func (a *admin) ended(ids []string) {
	a.t.Helper()
	for _, id := range ids {
		if job, err := a.await(id); err != nil || job.State != ipc.Succeeded {
			a.t.Fatalf("job %s: %s %+v (%v)", id, job.State, job.Error, err)
		}
	}
	runs := map[string]int{}
	for id := range strings.FieldsSeq(a.shell("cat /run/ran")) {
		runs[id]++
	}
	for _, id := range ids {
		if runs[id] != 1 {
			a.t.Errorf("job %s ran %d times", id, runs[id])
		}
	}
}

// upgrade: the new version comes in place, under load, as does the old one. The daemon's process and
// the jobs stay, no client is refused, and what the admin has changed is kept.
func upgrade(a *admin) {
	a.shell("echo 'max_connections = 400' >>/etc/dispatchd/dispatchd.toml")
	id, pid := a.gated(), a.pid()
	ids := a.load(func() {
		for _, version := range []string{"next", "old", "next"} {
			a.dpkg("-i /root/" + version + ".deb")
		}
	})
	a.t.Logf("%d notifies", len(ids))
	a.says("dispatchctl version", "dispatchctl 1.2.4\ndispatchd 1.2.4")
	a.says("systemctl show --value -p MainPID dispatchd.service", pid)
	a.says("systemctl show --value -p NRestarts dispatchd.service", "0")
	a.says("tail -n 1 /etc/dispatchd/dispatchd.toml", "max_connections = 400")
	a.says("grep -c 'Another line of the next version' /etc/dispatchd/dispatchd.toml.dpkg-dist", "1")
	a.says("dispatchd check --quiet", "")
	a.state(id, ipc.Running)
	a.release()
	if job, err := a.await(id); err != nil || job.State != ipc.Succeeded || job.Attempt != 1 {
		a.t.Errorf("the job of before: %s, attempt %d, %+v (%v)", job.State, job.Attempt, job.Error, err)
	}
	a.ended(ids)
}

// refused: a new version that could not start, here for the configuration, leaves
// the old one serving.
func refused(a *admin) {
	pid := a.pid()
	a.shell("cp /etc/dispatchd/dispatchd.toml /root/good.toml; echo 'max_runing = 1' >>/etc/dispatchd/dispatchd.toml")
	if out := a.dpkg("-i /root/old.deb"); !strings.Contains(out, "max_runing") || !strings.Contains(out, "the old version goes on") {
		a.t.Errorf("the admin is not told:\n%s", out)
	}
	a.says("dispatchctl version", "dispatchctl 1.2.3~rc4\ndispatchd 1.2.4")
	a.says("systemctl show --value -p MainPID dispatchd.service", pid)
	a.shell("cp /root/good.toml /etc/dispatchd/dispatchd.toml")
	a.shell("dispatchctl upgrade")
	a.says("dispatchctl version", "dispatchctl 1.2.3~rc4\ndispatchd 1.2.3~rc4")
}

// hung: a daemon that does not answer is restarted by an upgrade, and its jobs go
// on. It costs the time that an answer may take.
func hung(a *admin) {
	id, pid := a.gated(), a.pid()
	a.shell("kill -STOP " + pid)
	a.dpkg("-i /root/next.deb")
	a.says("dispatchctl version", "dispatchctl 1.2.4\ndispatchd 1.2.4")
	if a.pid() == pid {
		a.t.Error("it was not restarted")
	}
	a.state(id, ipc.Running)
	a.release()
	if job, err := a.await(id); err != nil || job.State != ipc.Succeeded {
		a.t.Errorf("the job of before: %s %+v (%v)", job.State, job.Error, err)
	}
}

// socket: the same where systemd holds the socket, and where the service is not
// enabled any more: it stays so.
func socket(a *admin) {
	a.shell("systemctl stop dispatchd.service && systemctl enable --now dispatchd.socket && systemctl start dispatchd.service && systemctl disable dispatchd.service && rm /run/ran")
	id, pid := a.gated(), a.pid()
	ids := a.load(func() { a.dpkg("-i /root/old.deb"); a.dpkg("-i /root/next.deb") })
	a.says("dispatchctl version", "dispatchctl 1.2.4\ndispatchd 1.2.4")
	a.says("systemctl show --value -p MainPID dispatchd.service", pid)
	a.says("systemctl is-enabled dispatchd.service dispatchd.socket || true", "disabled\nenabled")
	a.shell("systemctl enable dispatchd.service")
	a.state(id, ipc.Running)
	a.release()
	a.ended(ids)
}

// remove: the daemon goes, a job that runs does not, and what the admin and the
// daemon have written stays.
func remove(a *admin) {
	id := a.gated()
	a.Write(a.t, "/root/id", id, 0o600)
	a.dpkg("-r dispatchd")
	a.says("systemctl is-active dispatchd.service dispatchd.socket || true", "inactive\ninactive")
	a.says("ls /usr/sbin/dispatchd /usr/bin/dispatchctl /usr/lib/systemd/system/dispatchd.service 2>/dev/null || true", "")
	a.says("test -e /etc/dispatchd/dispatchd.toml && test -d /var/lib/dispatchd && echo kept", "kept")
	a.says("grep -lz DISPATCHD_JOB_ID="+id+" /proc/[0-9]*/environ 2>/dev/null | wc -l | sed 's/^[1-9].*/lives/'", "lives")
	a.release() // and ends, with nobody there
	a.says("while grep -qz DISPATCHD_JOB_ID="+id+" /proc/[0-9]*/environ 2>/dev/null; do :; done; echo ended", "ended")
}

// again: installed again, the daemon starts, and knows how the job ended.
func again(a *admin) {
	a.dpkg("-i /root/next.deb")
	a.says("systemctl is-active dispatchd.service dispatchd.socket", "active\nactive")
	id := a.shell("cat /root/id")
	if job, err := a.await(id); err != nil || job.State != ipc.Succeeded {
		a.t.Errorf("the job of before: %s %+v (%v)", job.State, job.Error, err)
	}
	a.says("tail -n 1 /etc/dispatchd/dispatchd.toml", "max_connections = 400")
}

// purge: nothing that is ours is left, and everything that is the admin's.
func purge(a *admin) {
	a.dpkg("-P dispatchd")
	a.says("find /etc /usr /var -path '*dispatchd*' | grep -v -e ^/var/cache/man | head -n 20",
		"/etc/dispatchd\n/etc/dispatchd/dispatchers.d\n/etc/dispatchd/dispatchers.d/gate.toml\n/etc/dispatchd/dispatchers.d/quick.toml")
	a.says("ls /var/lib/dpkg/info/dispatchd.* 2>/dev/null || true", "")
	a.says("ls -d /run/dispatchd 2>/dev/null || true", "")
	a.says("dpkg -s dispatchd >/dev/null 2>&1 || echo unknown", "unknown")
}

// rpmLife is the same for an rpm: its scripts do well, an upgrade comes in place,
// and a removal leaves a job alone. The machine is Debian's, so what the package
// wants of others is not looked for. Its presets enable everything.
func rpmLife(a *admin) {
	need(a.t, "rpm")
	rpm := func(arguments string) {
		a.t.Helper()
		if out := a.shell("rpm --nodeps --nosignature " + arguments + " 2>&1"); strings.Contains(out, "scriptlet") || strings.Contains(out, "error") {
			a.t.Errorf("rpm %s:\n%s", arguments, out)
		}
	}
	rpm("-i /root/old.rpm")
	a.says("systemctl is-enabled dispatchd.service", "enabled")
	a.says("systemctl is-active dispatchd.service || true", "inactive")
	a.shell("systemctl start dispatchd.service; echo 'max_connections = 400' >>/etc/dispatchd/dispatchd.toml; rm -f /run/ran")
	id, pid := a.gated(), a.pid()
	ids := a.load(func() { rpm("-U /root/next.rpm") })
	a.says("dispatchctl version", "dispatchctl 1.2.4\ndispatchd 1.2.4")
	a.says("systemctl show --value -p MainPID dispatchd.service", pid)
	a.says("tail -n 1 /etc/dispatchd/dispatchd.toml", "max_connections = 400")
	a.ended(ids)
	a.alpine(pid)
	rpm("-e dispatchd")
	a.says("systemctl is-active dispatchd.service || true", "inactive")
	a.says("systemctl is-enabled dispatchd.service 2>/dev/null || true", "")
	a.release() // waits for the job, if it lives
	a.says("while grep -qz DISPATCHD_JOB_ID="+id+" /proc/[0-9]*/environ 2>/dev/null; do :; done; echo ended", "ended")
}

// alpine runs the scripts of the Alpine package where a daemon runs: it becomes
// what is installed, in place. The rest of them needs OpenRC.
func (a *admin) alpine(pid string) {
	a.t.Helper()
	a.shell("mkdir /root/apk && tar -C /root/apk -xzf /root/old.apk 2>/dev/null && install /root/apk/usr/sbin/dispatchd /usr/sbin/dispatchd.new && mv /usr/sbin/dispatchd.new /usr/sbin/dispatchd")
	a.shell("/root/apk/.post-upgrade")
	a.says("dispatchctl version", "dispatchctl 1.2.4\ndispatchd 1.2.3~rc4")
	a.says("systemctl show --value -p MainPID dispatchd.service", pid)
	a.says("/root/apk/.post-install | tail -n 1", "*   rc-service dispatchd start")
}
