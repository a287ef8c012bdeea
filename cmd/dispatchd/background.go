package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// backgroundFlag asks for a daemon that outlives the shell that started it.
const backgroundFlag = "background"

// background starts the daemon as a process of its own, in a session of its own, and
// waits until its socket answers or it has ended. Its log goes on to standard error.
func background(args []string, socket string, quiet bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ready, readyEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	const readyFD = 3
	argv := append([]string{"dispatchd", fmt.Sprintf("--%s=%d", readyFlag, readyFD)}, withoutBackground(args)...)
	child, err := os.StartProcess(self, argv, &os.ProcAttr{
		Files: []*os.File{null, null, os.Stderr, readyEnd},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	_ = readyEnd.Close()
	_ = null.Close()
	if err != nil {
		return err
	}
	if n, err := ready.Read(make([]byte, 1)); n == 1 {
		if !quiet {
			fmt.Fprintf(os.Stderr, "dispatchd: process %d serves %s\n", child.Pid, socket)
		}
		return child.Release()
	} else if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	state, err := child.Wait() // it has said why
	if err != nil {
		return err
	}
	if code := state.ExitCode(); code > 0 {
		return console.Code(code)
	}
	return ipc.Errorf(ipc.KindInternal, "the daemon ended before its socket answered: %s", state)
}

// withoutBackground takes the flag out of a command line.
func withoutBackground(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--"+backgroundFlag || a == "--"+backgroundFlag+"=true" })
}
