package main

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// The exit codes of a command that could not be run, as env(1) and shells have
// them; for one that a signal ended the signal's number is added to codeSignal.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
	codeSignal        = 128
)

// findCommand finds a command of the command line. One that is not there ends with the
// code that a shell gives; undone is what was not done for its sake.
func findCommand(verb, name, undone string) (string, error) {
	if path := lookPath(name); path != "" {
		return path, nil
	}
	code, what := codeNotFound, "no command %q is found"
	if _, err := os.Stat(name); err == nil {
		code, what = codeNotExecutable, "%q cannot be executed"
	}
	return "", console.Failed(code, console.Usage("check its name and PATH; "+undone, verb+": "+what, name))
}

// cannotExec is the error of a command that is there and could not be started, with
// the code that a shell gives. What the kernel does not find then is the interpreter.
func cannotExec(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("the interpreter of its #! line is not there")
	}
	p := ipc.Errorf(ipc.KindUsage, "%s: %v", path, err)
	p.Suggestion = "it was not run; look at its mode, its #! line and what it is built for"
	return console.Failed(codeNotExecutable, p)
}

// runChild runs a command to its end, with this process's standard streams and
// nothing else of its descriptors, and ends as it does. The signals that end or tell
// a program something are passed on; a terminal sends its own to both. When this
// process is killed the command is too: what runs on without its locks would run
// beside a job.
func runChild(path string, argv []string) error {
	runtime.LockOSThread() // Pdeathsig: the command dies with the thread that started it
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 16)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
		if !signal.Ignored(s) { // as under nohup: the command is to ignore it, too
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)
	child, err := os.StartProcess(path, argv, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return cannotExec(path, errors.Unwrap(err))
	}
	ended := make(chan struct{})
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		for {
			select {
			case s := <-signals:
				if !fromTerminal(s) {
					_ = child.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	state, err := child.Wait()
	close(ended)
	<-passed
	if err != nil {
		return err
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return console.Code(codeSignal + int(ws.Signal()))
	}
	return console.Code(state.ExitCode())
}

// fromTerminal reports whether a signal is one that a terminal sends by a key, and
// this process is in the terminal's foreground: then the command has got it, too.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer func() { _ = tty.Close() }()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
