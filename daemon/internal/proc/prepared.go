package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
)

// Prepared is what a child needs beside a process: its open files, its progress
// pipe and its notify socket. What is missing shows before the child exists.
type Prepared struct {
	launch   Launch
	env      []string
	files    []int // of the child
	progress int
	notify   *notifySocket
	output   *output.Keeper // nil = the child has our own output
}

// Prepare makes what a launch needs. Its result is to be started or discarded.
func Prepare(l Launch) (*Prepared, error) {
	p := &Prepared{launch: l, env: l.Env, progress: -1}
	if err := p.open(); err != nil {
		p.Discard()
		return nil, Own(err)
	}
	if l.NotifySocket != "" {
		var err error
		if p.notify, err = listenNotify(l.NotifySocket, l.Credential); err == nil {
			p.env = append(p.env[:len(p.env):len(p.env)], "NOTIFY_SOCKET="+l.NotifySocket)
		} // without it progress still comes on descriptor 3
	}
	return p, nil
}

// Discard gives back what was made; the output file stays. It does nothing to a
// nil one.
func (p *Prepared) Discard() {
	if p == nil {
		return
	}
	closeAll(p.files)
	if p.progress >= 0 {
		_ = unix.Close(p.progress)
	}
	p.notify.close()
	if p.output != nil {
		p.output.Close()
	}
}

// Start starts a child that belongs to this process and supervises it. onUpdate
// gets its progress, at most five times a second and the last word always, on a
// goroutine of its own. The files of the attempt say that it was started before it
// is, and by them a later daemon finds what is left of it. After an error p is still
// the caller's.
func (p *Prepared) Start(onUpdate func(Update)) (*Process, error) {
	run, err := p.launch.Files.Create(StartRecord{NeverKill: p.launch.KillMode.Never(), At: host{}.startNow()})
	if err == nil && p.launch.Marked {
		if err = p.launch.Files.TakeMark(""); err != nil {
			_ = unix.Close(run)
		}
	}
	if err != nil {
		return nil, Own(fmt.Errorf("run directory: %w", err))
	}
	defer func() { _ = unix.Close(run) }()
	started, err := p.start(onUpdate)
	if err != nil {
		p.launch.unstart()
		return nil, err
	}
	child := started.Identity()
	_ = Append(run, StartRecord{Child: &child}) // a full run directory must not end a job that has started
	return started, nil
}

// unstart takes the start of the attempt back, as far as its files are concerned.
func (l *Launch) unstart() {
	if l.Marked {
		l.Files.Unstart()
	} else {
		l.Files.Remove()
	}
}

// start is Start without files.
func (p *Prepared) start(onUpdate func(Update)) (*Process, error) {
	c, err := p.Fork()
	if err != nil {
		return nil, err
	}
	started := newProcess(c, onUpdate)
	started.watch()
	return started, nil
}

// Start is Prepare and Prepared.Start, for a child of which no later daemon wants
// to know: it leaves no record in the run directory.
func Start(l Launch, onUpdate func(Update)) (*Process, error) {
	p, err := Prepare(l)
	if err != nil {
		return nil, err
	}
	started, err := p.start(onUpdate)
	if err != nil {
		p.Discard()
	}
	return started, err
}

// Fork starts the child, and leaves the watch over it to the caller, who closes
// it in the end. After an error p is still the caller's.
func (p *Prepared) Fork() (*Child, error) {
	begun := time.Now()
	pid, tree, err := p.fork()
	if err != nil {
		return nil, startError(&p.launch, err)
	}
	c := newChild(p.launch, pid, p.launch.Timeout)
	c.tree, c.progress, c.notify, c.output, c.exit.Started = tree, p.progress, p.notify, p.output, begun
	c.identity = IdentityIn(p.launch.Boot, pid)
	closeAll(p.files)
	if tree != nil {
		tree.adopt(pid)
	}
	return c, nil
}

// fork starts the process, in a tree where one is wanted.
func (p *Prepared) fork() (pid int, tree Tree, err error) {
	l, argv := &p.launch, p.launch.argv()
	if !l.SelfSupervised || !l.NeedsTree() {
		pid, err = ForkExec(argv[0], argv, l.attributes(p.files, p.env))
		return pid, nil, err
	}
	for _, tree := range (host{}).newTrees(filepath.Base(string(l.Files)), !l.NoCgroup) {
		a := l.attributes(p.files, p.env)
		tree.prepareAttr(a)
		if pid, err = ForkExec(argv[0], argv, a); err == nil {
			return pid, tree, nil
		}
		tree.close()
	}
	return 0, nil, err
}

// open opens what the child gets as descriptors 0 to 3, and our ends of the pipes
// that they are.
func (p *Prepared) open() (err error) {
	l := &p.launch
	in := l.ArgsFile
	if in == "" {
		in = os.DevNull
	}
	stdin, err := open(in, unix.O_RDONLY)
	if err != nil {
		return err
	}
	p.files = append(p.files, stdin)
	stdout, stderr := 1, 2
	if l.OutputFile != "" {
		if p.output, stdout, stderr, err = output.New(l.outputs()); err != nil {
			return err
		}
	}
	p.files = append(p.files, stdout, stderr)
	progress, w, err := output.Pipe()
	if err != nil {
		return err
	}
	p.files, p.progress = append(p.files, w), progress
	return nil
}

// outputs are where the child prints to.
func (l *Launch) outputs() output.Files {
	f := output.Files{Log: l.OutputFile, MaxLog: l.MaxOutput, Data: l.DataFile, MaxData: l.MaxData}
	if c := l.Credential; c != nil {
		f.Owner = &output.Owner{UID: int(c.UID), GID: int(c.GID)}
	}
	return f
}

// closeAll closes our copies of the child's files, but never our own output.
// Standard output and standard error may be one file.
func closeAll(files []int) {
	for i, fd := range files {
		if fd > 2 && (i != 2 || fd != files[1]) {
			_ = unix.Close(fd)
		}
	}
}
