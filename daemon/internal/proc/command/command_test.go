package command

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A command of ours sees a small environment, whatever the daemon's is.
func TestOutput(t *testing.T) {
	t.Setenv("SECRET", "x")
	out, err := Output(t.Context(), "/bin/sh", "-c", "echo ${SECRET-none} $LC_ALL $HOME")
	if word := strings.Fields(string(out)); err != nil || len(word) != 3 || word[0] != "none" || word[1] != "C" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := Output(t.Context(), "/bin/sh", "-c", "exit 3"); err == nil {
		t.Error("status 3 is no error")
	}
}

// A context that is over ends the command, also where a grandchild holds its
// output open.
func TestOutputIsKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Output(ctx, "/bin/sleep", "1000"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// The next image is tried with our environment, and what it says is told.
func TestTryProgram(t *testing.T) {
	t.Setenv("WORD", "v1.2")
	if out, err := TryProgram(t.Context(), []string{"MORE=and more"}, "/bin/sh", "-c", "echo $WORD $MORE; echo >&2 noise"); out != "v1.2 and more" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	_, err := TryProgram(t.Context(), nil, "/bin/sh", "-c", "echo >&2 'config: bad'; exit 78")
	if err == nil || err.Error() != "exit status 78: config: bad" {
		t.Errorf("%v", err)
	}
	if _, err := TryProgram(t.Context(), nil, "/nonexistent/dispatchd"); err == nil {
		t.Error("a missing program can start")
	}
}
