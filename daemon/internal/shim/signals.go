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
func (s *supervisor) catchSignals() error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	s.signals = pipe[0]
	came := make(chan os.Signal, 8)
	signal.Notify(came, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	go func() {
		for sig := range came {
			if n, ok := sig.(syscall.Signal); ok {
				_, _ = unix.Write(pipe[1], []byte{byte(n)})
			}
		}
	}()
	return nil
}

// readSignals gives the signals that have arrived.
func (s *supervisor) readSignals() (list []syscall.Signal) {
	var buf [16]byte
	for {
		n, err := unix.Read(s.signals, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		for _, sig := range buf[:max(0, n)] {
			list = append(list, syscall.Signal(sig))
		}
		return list
	}
}
