//go:build linux

// Command daemon8 stands in for FreeBSD's daemon(8) on Linux, with the flags
// that our rc.d script uses: it goes into the background, supervises a program,
// starts it anew when it ends, keeps two locked pid files, and sends what the
// program says to the local syslogd. At SIGTERM it does what is hardest for us
// and what versions before 14.0 did: it passes the signal on and is gone at once,
// and nobody reads what the program still has to say.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// inside tells the second instance that it is the one in the background.
const inside = "DAEMON8_INSIDE"

// options are the flags.
type options struct {
	supervisor, child string
	delay             int
	tag               string
	argv              []string
}

func main() {
	o := parse()
	if os.Getenv(inside) == "" {
		os.Exit(background(o))
	}
	supervise(o)
}

// parse reads the command line. What it does not say is what we never ask for.
func parse() options {
	var o options
	var off bool
	set := flag.NewFlagSet("daemon", flag.ExitOnError)
	set.BoolVar(&off, "c", false, "change to /")
	set.BoolVar(&off, "f", false, "standard files to /dev/null")
	set.BoolVar(&off, "S", false, "output to syslog")
	set.BoolVar(&off, "r", false, "restart")
	set.IntVar(&o.delay, "R", 1, "seconds before a restart")
	set.StringVar(&o.supervisor, "P", "", "pid file of the supervisor")
	set.StringVar(&o.child, "p", "", "pid file of the program")
	set.StringVar(&o.tag, "T", "daemon", "syslog tag")
	set.Func("l", "syslog facility", func(string) error { return nil })
	set.Func("s", "syslog priority", func(string) error { return nil })
	_ = set.Parse(os.Args[1:]) // it exits
	o.argv = set.Args()
	return o
}

// background locks the pid files, starts the instance that goes on with them,
// and gives the exit code.
func background(o options) int {
	var files []*os.File
	for _, path := range []string{o.supervisor, o.child} {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			text, _ := os.ReadFile(path)
			fmt.Fprintf(os.Stderr, "daemon: process already running, pid: %s\n", text)
			return 3
		case err != nil:
			fmt.Fprintf(os.Stderr, "daemon: %v\n", err)
			return 2
		}
		files = append(files, f)
	}
	next := exec.Command("/proc/self/exe")
	next.Args = append([]string{"daemon: " + o.argv[0]}, os.Args[1:]...)
	next.Env = append(os.Environ(), inside+"=1")
	next.Dir, next.ExtraFiles = "/", files
	next.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := next.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "daemon: %v\n", err)
		return 1
	}
	return 0
}

// supervise runs the program again and again until SIGTERM.
func supervise(o options) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	for i, path := range []string{o.supervisor, o.child} {
		unix.CloseOnExec(3 + i)
		defer func() { _ = os.Remove(path) }()
	}
	_ = os.Unsetenv(inside)
	writePID(3, os.Getpid())
	for {
		cmd := exec.Command(o.argv[0], o.argv[1:]...)
		said, write, err := os.Pipe()
		if err != nil {
			return
		}
		cmd.Stdout, cmd.Stderr = write, write
		err = cmd.Start()
		_ = write.Close()
		if err != nil {
			return
		}
		writePID(4, cmd.Process.Pid)
		go pass(said, o.tag)
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-term:
			_ = said.Close()
			_ = cmd.Process.Signal(unix.SIGTERM)
			return
		case <-ended:
		}
		_ = said.Close()
		select {
		case <-term:
			return
		case <-time.After(time.Duration(o.delay) * time.Second):
		}
	}
}

// writePID writes a number into a pid file.
func writePID(fd, pid int) {
	text := []byte(strconv.Itoa(pid))
	_ = unix.Ftruncate(fd, 0)
	_, _ = unix.Pwrite(fd, text, 0)
}

// pass sends each line to the syslogd.
func pass(from *os.File, tag string) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		conn, err := net.Dial("unixgram", "/dev/log")
		if err != nil {
			continue
		}
		_, _ = fmt.Fprintf(conn, "<29>%s %s[%d]: %s", time.Now().Format(time.Stamp), tag, os.Getpid(), lines.Text())
		_ = conn.Close()
	}
}
