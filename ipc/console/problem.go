package console

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

// Exit carries an exit code through cobra. The verb has printed its error itself.
type Exit int

// Error makes an exit code an error without words.
func (e Exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// failure is an error with an exit code of its own instead of its kind's.
type failure struct {
	code int
	error
}

// Unwrap gives the error.
func (f failure) Unwrap() error { return f.error }

// Failed makes err an error that ends the command with code.
func Failed(code int, err error) error { return failure{code, err} }

// Code is an exit code as an error, nil for 0.
func Code(code int) error {
	if code == 0 {
		return nil
	}
	return Exit(code)
}

// Problem makes an *ipc.Error of any error.
func Problem(err error) *ipc.Error {
	if p, ok := errors.AsType[*ipc.Error](err); ok {
		return p
	}
	return ipc.Errorf(ipc.KindInternal, "%v", err)
}

// Report prints an error, as JSON or in words, and gives the exit code for it.
func Report(w io.Writer, program string, asJSON bool, err error) int {
	if err == nil {
		return ipc.ExitOK
	}
	if code, ok := errors.AsType[Exit](err); ok {
		return int(code)
	}
	p := Problem(err)
	exit := p.Kind.ExitCode()
	if f, ok := errors.AsType[failure](err); ok {
		exit = f.code
	}
	if asJSON {
		_ = terminal.EncodeJSON(w, p)
		return exit
	}
	for i, line := range p.Lines() {
		if i == 0 {
			line = program + ": " + line
		} else {
			line = "  " + line
		}
		_ = terminal.Fprintf(w, "%s\n", line)
	}
	return exit
}

// packaged is the version of the package that a program comes in. Its build sets
// it by the linker, which can set nothing but a variable.
var packaged string

// Version is a program's version: the package's, else the module's where it was
// built from one, which names the commit of a checkout.
func Version() string {
	if packaged != "" {
		return packaged
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
