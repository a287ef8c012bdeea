package shim

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// startLegacy starts a supervisor as a daemon of version 1 does: the launch is JSON,
// and descriptor 4 the FIFO. The reader comes first, for a writer alone cannot open.
func startLegacy(t *testing.T, l proc.Launch, locks ...*os.File) (supervisor *os.Process, fifo *os.File) {
	t.Helper()
	if err := unix.Mkfifo(l.Files.Fifo(), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(l.Files.Fifo(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(l.Files.Fifo(), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, launch, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	files := append([]*os.File{nil, nil, nil, in, w}, locks...)
	supervisor, err = os.StartProcess(os.Args[0], append(self(), "test", "job"), &os.ProcAttr{Dir: "/", Env: []string{Env + "=job"}, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = in.Close(), w.Close()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := launch.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
	_ = launch.Close()
	return supervisor, fifo
}

// The file of our program may be replaced under a daemon of the release before: it
// starts this supervisor, and speaks version 1.
func TestStartedByOldDaemon(t *testing.T) {
	l := newLaunch(t, "told")
	gate := gated(t, &l)
	lock := newLock(t)
	supervisor, fifo := startLegacy(t, l, lock)
	_ = lock.Close()
	hints := bufio.NewScanner(fifo)
	if !hints.Scan() || hints.Text() != "{}" {
		t.Errorf("first hint: %q", hints.Text())
	}
	if !hints.Scan() || hints.Text() != `{"percent":50,"message":"waiting"}` {
		t.Errorf("second hint: %q", hints.Text())
	}
	if isFree(t, lock.Name()) {
		t.Error("the lock is free while the job runs")
	}
	// A daemon of today adopts it, by the FIFO.
	said := newUpdates()
	c := Adopt(l.Files, "job", time.Time{}, said.hear)
	said.until(t, message("waiting"))
	if err := c.Signal(unix.SIGHUP); err == nil {
		t.Error("version 1 has no signals")
	}
	_, _ = gate.WriteString("3\n")
	go func() { _, _ = supervisor.Wait() }()
	if x := c.Exit(); x.Code != 3 {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock.Name()) {
		t.Error("the lock outlived its job")
	}
}

// A daemon of today stops the job of an old supervisor by SIGTERM.
func TestStopOfOldSupervisor(t *testing.T) {
	l := newLaunch(t, "deaf")
	supervisor, _ := startLegacy(t, l)
	said := newUpdates()
	c := Adopt(l.Files, "job", time.Time{}, said.hear)
	said.until(t, message("deaf"))
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	go func() { _, _ = supervisor.Wait() }()
	if x := c.Exit(); !x.Canceled || x.Signal != "SIGKILL" {
		t.Errorf("%+v", x)
	}
}

// A daemon of the release before takes the job of a supervisor of today over, as it
// does with its own: it reads the FIFO, asks by SIGUSR1, and stops by SIGTERM.
func TestAdoptedByOldDaemon(t *testing.T) {
	l := newLaunch(t, "deaf")
	said := newUpdates()
	c, lock := supervise(t, l, said.hear)
	said.until(t, message("deaf"))
	c.Leave()
	fifo, err := os.OpenFile(l.Files.Fifo(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fifo.Close() }()
	start, ok := l.Files.ReadStart()
	if !ok {
		t.Fatal("no start")
	}
	start.Supervisor.Signal(unix.SIGUSR1)
	lines := bufio.NewReader(fifo)
	if line, err := lines.ReadString('\n'); line != `{"percent":1,"message":"deaf"}`+"\n" {
		t.Errorf("%q, %v", line, err)
	}
	start.Supervisor.Signal(unix.SIGTERM)
	if line, err := lines.ReadString('\n'); err == nil {
		t.Errorf("%q instead of the end", line)
	}
	waitSupervisor(c)
	if x, ok := readOutcome(l.Files); !ok || !x.Canceled {
		t.Errorf("%+v, %v", x, ok)
	}
	if !isFree(t, lock) {
		t.Error("the lock outlived its job")
	}
}

// An old daemon that dies before it has said what to do has started nothing, and one
// whose run directory is full is told so.
func TestOldLaunchErrors(t *testing.T) {
	a := &attempt{}
	if _, err := a.bornLegacy([]byte(`{"job":"half`)); !errors.Is(err, errNoLaunch) {
		t.Errorf("%v", err)
	}
	l := newLaunch(t, "exit")
	if err := os.Mkdir(l.Files.NewStatus(), 0o700); err != nil {
		t.Fatal(err)
	}
	supervisor, fifo := startLegacy(t, l)
	hints := bufio.NewScanner(fifo)
	if !hints.Scan() || !strings.HasPrefix(hints.Text(), `{"error":"run directory: `) {
		t.Errorf("%q", hints.Text())
	}
	var h hint
	if err := json.Unmarshal(hints.Bytes(), &h); err != nil || h.reply().Status.Phase != Refused {
		t.Errorf("%+v, %v", h, err)
	}
	_, _ = supervisor.Wait()
}
