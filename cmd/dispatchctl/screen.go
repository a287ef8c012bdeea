package main

import (
	"dispatchd/ipc/console"
	"dispatchd/ipc/terminal"
)

// screen is what one run of the command prints on, and how. All text passes
// terminal.Fprintf: most of it is not ours.
type screen struct {
	out, err *terminal.Output // data; talk and errors
	json     bool
	quiet    bool
	color    string // --color
}

// print gives a value as JSON, one line.
func (s *screen) print(v any) error { return terminal.EncodeJSON(s.out, v) }

// printLines gives each value as JSON, a line each.
func printLines[T any](s *screen, list []T) error {
	for _, v := range list {
		if err := s.print(v); err != nil {
			return err
		}
	}
	return nil
}

// printf prints a line of data. Main looks whether it could be written.
func (s *screen) printf(format string, args ...any) {
	_ = terminal.Fprintf(s.out, format+"\n", args...)
}

// talk prints a line for people, on standard error.
func (s *screen) talk(format string, args ...any) {
	if !s.quiet && !s.json {
		s.complain("dispatchctl: "+format, args...)
	}
}

// complain prints a line on standard error, also with --quiet.
func (s *screen) complain(format string, args ...any) {
	_ = terminal.Fprintf(s.err, format+"\n", args...)
}

// palette is the colours of standard output.
func (s *screen) palette() console.Palette { return console.NewPalette(s.color, s.out) }

// table makes an empty table for standard output.
func (s *screen) table(head ...any) *console.Table {
	t := &console.Table{Palette: s.palette(), Width: console.TerminalWidth(s.out)}
	t.Row(head...)
	return t
}

// show writes a table.
func (s *screen) show(t *console.Table) error {
	_, err := t.WriteTo(s.out)
	return err
}
