package terminal

import (
	"testing"

	"dispatchd/test/box"
)

func TestOutputOnTerminal(t *testing.T) {
	file, seen := box.PTY(t)
	o := NewOutput(file)
	_ = Fprintf(o, "%s %s\n", "a\x1b[31m", Styled("\x1b[32mok\x1b[0m"))
	_, _ = o.Write([]byte("forgotten \x1b]0;t\x07\n"))
	to, done := o.Job(false, false)
	_, _ = to.Write([]byte("\x1b[31mjob\x1b[2J"))
	_ = done()
	to, done = o.Job(true, true)
	_, _ = to.Write([]byte("\x1b[2J"))
	_ = done()
	if got, want := seen(), "a�[31m \x1b[32mok\x1b[0m\r\nforgotten �]0;t�\r\njob\x1b[2J"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
