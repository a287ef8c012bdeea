package console

import (
	"io"
	"os"

	"golang.org/x/term"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

// ColorModes are the values of --color.
func ColorModes() []string { return []string{"auto", "always", "never"} }

// Palette colours words. The zero value leaves them as they are.
type Palette struct{ on bool }

// NewPalette decides by --color, then NO_COLOR and TERM, then by whether w is
// a terminal.
func NewPalette(mode string, w io.Writer) Palette {
	switch {
	case mode == "always":
		return Palette{on: true}
	case mode == "never" || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb":
		return Palette{}
	}
	f := terminal.FileOf(w)
	return Palette{on: f != nil && term.IsTerminal(int(f.Fd()))}
}

// The colours, as a terminal knows them.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	plain  = "\x1b[0m"
)

// On reports whether words are coloured.
func (p Palette) On() bool { return p.on }

// State colours a word that is the state of a job, a dispatcher or a finding.
// Other words stay plain.
func (p Palette) State(word string) terminal.Styled {
	switch word {
	case string(ipc.Succeeded), string(ipc.DispatcherReady), "ok":
		return p.paint(green, word)
	case string(ipc.Failed), string(ipc.TimedOut), string(ipc.DispatcherDisabled), "bad":
		return p.paint(red, word)
	case string(ipc.Canceled), string(ipc.Expired), string(ipc.Interrupted), string(ipc.DispatcherPaused):
		return p.paint(yellow, word)
	case string(ipc.Running):
		return p.paint(cyan, word)
	}
	return terminal.Styled(terminal.Line(word))
}

// paint wraps a word in a colour.
func (p Palette) paint(color, word string) terminal.Styled {
	if !p.on {
		return terminal.Styled(word)
	}
	return terminal.Styled(color + word + plain)
}
