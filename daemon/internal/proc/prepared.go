package proc

import (
	"os"
	"time"
)

// Prepared is what a child needs beside a process: its open files, its progress pipe
// and its notify socket. It can be made ready before the child may be started.
type Prepared struct {
	launch   Launch
	env      []string
	files    []int // of the child
	progress *os.File
	notify   *notifySocket
}

// Prepare makes what a launch needs. The kit is to be started or discarded.
func Prepare(l Launch) (*Prepared, error) {
	files, progress, err := l.files()
	if err != nil {
		return nil, err
	}
	if l.Boot == "" {
		l.Boot = bootID()
	}
	k := &Prepared{launch: l, env: l.Env, files: files, progress: progress}
	if l.NotifySocket != "" {
		if k.notify, err = listenNotify(l.NotifySocket, l.Credential); err == nil {
			k.env = append(k.env[:len(k.env):len(k.env)], "NOTIFY_SOCKET="+l.NotifySocket)
		} // without it progress still comes on descriptor 3
	}
	return k, nil
}

// Discard gives back what was made; the output file stays. A nil kit is none.
func (k *Prepared) Discard() {
	if k == nil {
		return
	}
	closeAll(k.files)
	_ = k.progress.Close()
	k.notify.close()
}

// Start starts a child and supervises it. onUpdate gets its progress, at most
// five times a second and the last word always, on a goroutine of its own.
func Start(l Launch, onUpdate func(Update)) (*Process, error) {
	k, err := Prepare(l)
	if err != nil {
		return nil, err
	}
	p, err := k.start(onUpdate)
	if err != nil {
		k.Discard()
	}
	return p, err
}

// start uses the kit up, if it works.
func (k *Prepared) start(onUpdate func(Update)) (*Process, error) {
	p := newProcess(k.launch, onUpdate)
	p.progress, p.notify, p.left = k.progress, k.notify, k.launch.Timeout
	p.exit.Started = time.Now()
	if err := p.fork(k.files, k.env); err != nil {
		return nil, startError(&k.launch, err)
	}
	p.self = Identity{PID: p.pid, Start: startTime(p.pid), Boot: k.launch.Boot}
	closeAll(k.files)
	if p.all != nil {
		p.all.started(p.pid)
	}
	p.watch()
	return p, nil
}
