//go:build linux

package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// enterEnv tells the test binary that it is to become a machine's init. Its
// value is the directory that the machine is prepared in.
const enterEnv = "DISPATCHD_TESTBED"

// searchPath is where a machine finds its programs.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// reportFD is a pipe to who started us: an error is written to it, and the init
// does not get it, so that its end means that the machine is prepared.
const reportFD = 3

// Enter prepares a machine and becomes its init, where this process was started
// for that, and does nothing else. TestMain calls it before all else.
func Enter() {
	dir := os.Getenv(enterEnv)
	if dir == "" {
		return
	}
	// The cgroup namespace is that of a thread, and the init is to have it.
	runtime.LockOSThread()
	unix.CloseOnExec(reportFD)
	err := prepare(dir)
	if err == nil {
		env := []string{searchPath, "container=testbed", "NOTIFY_SOCKET=" + noticePath}
		err = fmt.Errorf("%s: %w", os.Args[1], unix.Exec(os.Args[1], os.Args[1:], env))
	}
	_, _ = unix.Write(reportFD, []byte(err.Error()))
	os.Exit(1)
}

// mount is one mount of a machine; its target is below the new root.
type mount struct {
	what, where, kind string
	flags             uintptr
	data              string
}

// prepare makes the machine's root and goes there.
func prepare(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	root, err := overlay(dir)
	if err != nil {
		return err
	}
	if err := mountAll(root); err != nil {
		return err
	}
	if err := devices(filepath.Join(root, "dev")); err != nil {
		return err
	}
	if err := mountAt(root, mount{filepath.Join(dir, "notice"), filepath.Dir(noticePath), "", unix.MS_BIND, ""}); err != nil {
		return err
	}
	if err := quiet(root); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("testbed")); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	return pivot(root)
}

// overlay lays an empty layer in memory over the machine's own root.
func overlay(dir string) (string, error) {
	if err := unix.Mount("tmpfs", dir+"/layer", "tmpfs", 0, "mode=755"); err != nil {
		return "", fmt.Errorf("tmpfs: %w", err)
	}
	for _, name := range []string{"up", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, "layer", name), 0o755); err != nil {
			return "", err
		}
	}
	at := filepath.Join(dir, "layer")
	options := fmt.Sprintf("lowerdir=/,upperdir=%s/up,workdir=%s/work", at, at)
	if err := unix.Mount("overlay", at+"/root", "overlay", 0, options); err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	return at + "/root", nil
}

// mountAll mounts what every system has. The kernel's settings are this
// machine's too, and cannot be written.
func mountAll(root string) error {
	const strict = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	list := []mount{
		{"proc", "proc", "proc", strict, ""},
		{"/proc/sys", "proc/sys", "", unix.MS_BIND, ""},
		{"", "proc/sys", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""},
		{"sysfs", "sys", "sysfs", strict | unix.MS_RDONLY, ""},
		{"cgroup2", "sys/fs/cgroup", "cgroup2", strict, ""},
		{"tmpfs", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"tmpfs", "var/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"tmpfs", "dev", "tmpfs", unix.MS_NOSUID, "mode=755"},
		{"tmpfs", "dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"devpts", "dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"},
	}
	for _, m := range list {
		if err := mountAt(root, m); err != nil {
			return err
		}
	}
	return nil
}

// mountAt mounts one thing below the root.
func mountAt(root string, m mount) error {
	to := filepath.Join(root, m.where)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.what, to, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s: %w", m.where, err)
	}
	return nil
}

// devices makes the few that programs expect.
func devices(dev string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		to := filepath.Join(dev, name)
		if err := os.WriteFile(to, nil, 0o600); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("device %s: %w", name, err)
		}
	}
	links := map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "console": "null",
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// quiet takes away what this machine would start by itself, under any init, and
// what makes no sense in a machine without hardware.
func quiet(root string) error {
	var gone []string
	for _, pattern := range []string{
		"etc/systemd/system/*.wants", "etc/systemd/system/*.requires", "etc/systemd/system/*.d",
		"etc/rc?.d/*", "etc/runlevels/*/*", "etc/service/*", "etc/cron.d/*",
		"lib/systemd/system/multi-user.target.wants/*", "lib/systemd/system/timers.target.wants/*",
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		gone = append(gone, found...)
	}
	for _, path := range gone {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	masked := strings.Fields(`systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service systemd-binfmt.service
		systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket systemd-udevd-control.socket
		systemd-firstboot.service systemd-random-seed.service systemd-repart.service kmod-static-nodes.service
		systemd-journald-audit.socket systemd-initctl.socket systemd-ask-password-console.path systemd-logind.service
		dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount
		sys-kernel-tracing.mount proc-sys-fs-binfmt_misc.automount`)
	units := filepath.Join(root, "etc/systemd/system")
	for _, unit := range masked {
		if err := relink("/dev/null", filepath.Join(units, unit)); err != nil {
			return err
		}
	}
	if err := relink("/lib/systemd/system/multi-user.target", filepath.Join(units, "default.target")); err != nil {
		return err
	}
	journal := "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n"
	return errors.Join(
		overwrite(filepath.Join(root, "etc/machine-id"), ""),
		overwrite(filepath.Join(root, "etc/systemd/journald.conf"), journal))
}

// relink makes a symbolic link in the place of whatever is there.
func relink(to, at string) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(to, at)
}

// overwrite makes a file with this text in the place of whatever is there.
func overwrite(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// pivot makes the new root the only one.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The old root lands on top of the new one, and is taken off.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("old root: %w", err)
	}
	return os.Chdir("/")
}
