package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
)

// An upgraded program gets the command line without the descriptor that it does
// not have any more.
func TestWithoutReady(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", ""},
		{"--root /x -v", "--root /x -v"},
		{"--ready-fd 3 --root /x", "--root /x"},
		{"--root /x --ready-fd 3", "--root /x"},
		{"--ready-fd=3 -q", "-q"},
		{"-q --ready-fd", "-q"},
		{"--ready-fdx 3", "--ready-fdx 3"},
		{"--ready-fd=3 --ready-fd 4 -q", "-q"},
	} {
		if got := withoutReady(strings.Fields(tc.args)); !slices.Equal(got, strings.Fields(tc.want)) {
			t.Errorf("%q: %q, want %q", tc.args, got, tc.want)
		}
	}
}

// Readiness is one newline and the end of the descriptor.
func TestNotifyReady(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	// The descriptor is the function's from here on: w must not close it, too.
	fd, err := syscall.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	ready, err := notifyReady(fd)
	if err != nil {
		t.Fatal(err)
	}
	ready()
	if got, err := io.ReadAll(r); err != nil || string(got) != "\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// A descriptor that is none is a fault of the command line.
func TestNotifyReadyRefuses(t *testing.T) {
	for _, fd := range []int{-1, 0, 1 << 20} {
		_, err := notifyReady(fd)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("--ready-fd %d: ", fd)) {
			t.Errorf("%d: %v", fd, err)
		}
	}
}

// A manager that has closed its end makes readiness no error and no signal.
func TestNotifyReadyWithoutReader(t *testing.T) {
	signals(syscall.SIGPIPE)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	fd, err := syscall.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	ready, err := notifyReady(fd)
	if err != nil {
		t.Fatal(err)
	}
	ready() // must not end the test
}

// Two signals of one kind are one wish.
func TestSignalsMerge(t *testing.T) {
	ch := signals(syscall.SIGURG)
	if cap(ch) != 1 {
		t.Errorf("room for %d signals", cap(ch))
	}
}

// An instance with a root is below it; its path is absolute, since an upgrade
// may begin elsewhere.
func TestPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paths("x"), ipc.RootPaths(here+"/x"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := paths(""), ipc.DefaultPaths(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
