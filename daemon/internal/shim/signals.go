package shim

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// catchSignals has the signals that mean something to a supervisor arrive at a
// descriptor, which its poll loop waits for. Those of a terminal are caught too, and
// mean nothing: ignored, they would be ignored in the job as well (execve(2)).
//
// It is called before the goroutine is locked to a thread: package signal asks two
// goroutines of the runtime for each signal, and from a locked thread each question
// is a change of threads (0.33 of an empty Go program for all, against 0.13).
func catchSignals() (fd int, err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return -1, os.NewSyscallError("pipe2", err)
	}
	came := make(chan os.Signal, 8)
	signal.Notify(came, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	go func() {
		for s := range came {
			if n, ok := s.(syscall.Signal); ok {
				_, _ = unix.Write(pipe[1], []byte{byte(n)})
			}
		}
	}()
	return pipe[0], nil
}

// readSignals gives the signals that have arrived.
func readSignals(fd int) (list []syscall.Signal) {
	var buf [16]byte
	for {
		n, err := unix.Read(fd, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		for _, n := range buf[:max(0, n)] {
			list = append(list, syscall.Signal(n))
		}
		return list
	}
}
