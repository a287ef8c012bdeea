// Command stamp is a child of the crash tests. It appends to a file when it
// began, each millisecond that it lived, and when it ended, by the monotonic
// clock that all processes share; so it is known how long it lived even when it
// was killed. With a gate it tells a socket instead, and ends when it is told.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: stamp file|gate PATH")
		os.Exit(2)
	}
	if os.Args[1] == "gate" {
		os.Exit(gate(os.Args[2]))
	}
	os.Exit(file(os.Args[2]))
}

// now is the clock of all processes, in nanoseconds.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// argument is a number among the job's arguments, 0 if it is not there.
func argument(name string) int {
	n, _ := strconv.Atoi(os.Getenv("DISPATCHD_ARG_" + name))
	return n
}

// who names this run in every line.
func who() string {
	return os.Getenv("DISPATCHD_DISPATCHER") + " " + os.Getenv("DISPATCHD_JOB_ID") + " " + os.Getenv("DISPATCHD_ATTEMPT") + " " + strconv.Itoa(os.Getpid())
}

// lineSize is the length of every line. It divides a page, so that a line never
// lies on two: of a write that does, a SIGKILL can leave the first half.
const lineSize = 128

// file lives for as many milliseconds as the arguments say and writes it down,
// one write a line. It fails in as many first attempts as they say.
func file(path string) int {
	began := now()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 3
	}
	line := func(what string, at int64, more ...any) {
		text := fmt.Sprint(append([]any{what, " ", at, " ", who()}, more...)...)
		_, _ = fmt.Fprintf(f, "%-*s\n", lineSize-1, text)
	}
	key := os.Getenv("DISPATCHD_ARG_K")
	if key == "" {
		key = "-"
	}
	line("begin", began, " ", os.Getppid(), " ", key)
	tick := time.NewTicker(time.Millisecond)
	for range argument("MS") {
		<-tick.C
		line("alive", now())
	}
	code := 0
	if attempt, _ := strconv.Atoi(os.Getenv("DISPATCHD_ATTEMPT")); attempt <= argument("FAILS") {
		code = 1
	}
	line("end", now(), " ", code)
	return code
}

// gate says that it began, and ends when the other side closes.
func gate(path string) int {
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(c, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		return 3
	}
	if _, err := unix.Write(c, fmt.Appendln(nil, now(), who())); err != nil {
		return 4
	}
	_, _ = unix.Read(c, make([]byte, 1))
	return 0
}
