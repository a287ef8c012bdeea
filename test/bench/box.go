package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"dispatchd/ipc/client"
)

// box is a daemon with directories of its own.
type box struct {
	*server
	root, run string
	prepare   func(*exec.Cmd) // says where the directories are
	client    *client.Client
}

// openBox writes settings and definitions and starts a daemon on them, all in
// one private root.
func (l *lab) openBox(ctx context.Context, settings string, files map[string]string) (*box, error) {
	return l.openBoxIn(ctx, l.dir, settings, files)
}

// openInMemory is openBox with nothing on the disk, where the system allows it.
func (l *lab) openInMemory(ctx context.Context, settings string, files map[string]string) (*box, error) {
	return l.openBoxIn(ctx, l.memory(), settings, files)
}

// openBoxIn is openBox below a directory.
func (l *lab) openBoxIn(ctx context.Context, dir, settings string, files map[string]string) (*box, error) {
	root, err := os.MkdirTemp(dir, "bench-box-")
	if err != nil {
		return nil, err
	}
	l.scratch = append(l.scratch, root)
	b := &box{root: root, run: filepath.Join(root, "run")}
	b.prepare = func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, "--root", root) }
	return b.open(ctx, l, root, settings, files)
}

// memory is where the system keeps files that are on no disk, else the disk.
func (l *lab) memory() string {
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		return l.dir
	}
	return shm
}

// openInstalled is openBox with the directories as a system has them: what is
// of this boot alone in memory, the rest on the disk. Only a daemon that is not
// root's can be told so, so root's gets another user.
func (l *lab) openInstalled(ctx context.Context, settings string, files map[string]string) (*box, error) {
	root, err := os.MkdirTemp(l.dir, "box-")
	if err != nil {
		return nil, err
	}
	runtime, err := os.MkdirTemp(l.memory(), "bench-run-")
	if err != nil {
		return nil, err
	}
	l.scratch = append(l.scratch, runtime)
	b := &box{root: root, run: filepath.Join(runtime, "dispatchd")}
	b.prepare = func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "HOME="+root, "XDG_RUNTIME_DIR="+runtime, "XDG_CONFIG_HOME="+root,
			"XDG_STATE_HOME="+root+"/state", "XDG_DATA_HOME="+root+"/data", "XDG_CACHE_HOME="+root+"/cache")
		if os.Geteuid() == 0 {
			const uid = 65534
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
			give(uid, runtime, b.root)
		}
	}
	return b.open(ctx, l, filepath.Join(root, "dispatchd"), settings, files)
}

// nobody is the user whose daemon root asks in these boxes.
const nobody = "nobody"

// give makes directories, and what is in them, a user's. What fails shows in
// the daemon that does not start.
func give(user int, dirs ...string) {
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, user, user)
		})
	}
}

// open writes the files below a directory and starts the daemon.
func (b *box) open(ctx context.Context, l *lab, config, settings string, files map[string]string) (*box, error) {
	texts := map[string]string{"dispatchd.toml": settings}
	for name, text := range files {
		texts["dispatchers.d/"+name+".toml"] = text
	}
	for _, dir := range []string{b.run, filepath.Join(config, "dispatchers.d")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(config, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if err := b.start(ctx, l); err != nil {
		return nil, err
	}
	if err := b.healthy(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// start starts the daemon, the first time or again.
func (b *box) start(ctx context.Context, l *lab) (err error) {
	b.server, err = l.serve(ctx, "daemon", filepath.Join(b.run, "control.sock"), b.prepare)
	if err == nil {
		b.client = &client.Client{Socket: b.socket, ServerUser: nobody}
	}
	return err
}

// healthy asks over a connection that is closed again: an idle daemon has none.
func (b *box) healthy() error {
	conn, err := dial(b.socket)
	if err != nil {
		return err
	}
	defer conn.close()
	_, err = conn.ask([]byte("GET /v1/health HTTP/1.1\r\nHost: dispatchd\r\n\r\n"))
	return err
}

// close ends the daemon. Its files stay until the lab is closed: ext4 makes new
// files slowly for some seconds after it has removed thousands.
func (b *box) close() { b.stop() }

// request is a notify on the wire, on a connection that is kept.
func request(name, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "POST /v1/dispatchers/%s/notify HTTP/1.1\r\nHost: dispatchd\r\n", name)
	fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}

// waiting is a notify that is answered when its job has ended.
func waiting(name string) []byte {
	return bytes.Replace(request(name, ""), []byte("/notify"), []byte("/notify?wait=1h"), 1)
}
