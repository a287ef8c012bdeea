package terminal

import (
	"io"
	"os"
)

// Output is standard output or standard error of a command. It keeps the first
// error of writing to it, which the end of the command looks at: a command whose
// output is lost has not done what it was asked to.
type Output struct {
	w      io.Writer
	filter *Filter // on a terminal
	err    error
}

// NewOutput makes one of what a command writes to. Every character device is
// taken for a terminal: on others the filter does no harm.
func NewOutput(w io.Writer) *Output {
	o := &Output{w: w}
	if IsDevice(w) {
		o.filter = &Filter{W: &direct{o}, Colors: true}
	}
	return o
}

// IsDevice reports whether w is a file that is a character device, as a terminal is.
func IsDevice(w io.Writer) bool {
	f := FileOf(w)
	if f == nil {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

// FileOf is the file that w is or writes to, nil = none.
func FileOf(w io.Writer) *os.File {
	if o, ok := w.(*Output); ok {
		w = o.w
	}
	f, _ := w.(*os.File)
	return f
}

// Write writes, on a terminal through the filter.
func (o *Output) Write(p []byte) (int, error) {
	if o.filter != nil {
		return o.filter.Write(p)
	}
	return o.Raw().Write(p)
}

// Raw writes as it is. It is for the output of a job whose reader asks for that.
func (o *Output) Raw() io.Writer { return &direct{o} }

// Job is where the output of a job goes: on a terminal through a filter of its own,
// else as it is. done ends it.
func (o *Output) Job(raw, colors bool) (w io.Writer, done func() error) {
	if raw || o.filter == nil {
		return o.Raw(), func() error { return nil }
	}
	f := &Filter{W: o.Raw(), Colors: colors}
	return f, f.Flush
}

// Err is the first error of writing, nil = none.
func (o *Output) Err() error { return o.err }

// Flush writes what was held back, and gives the first error of all.
func (o *Output) Flush() error {
	if o.filter != nil {
		_ = o.filter.Flush()
	}
	return o.err
}

// Close is Flush, and closes the file: some file systems say only then that there
// is no room.
func (o *Output) Close() error {
	_ = o.Flush()
	if c, ok := o.w.(io.Closer); ok {
		if err := c.Close(); o.err == nil {
			o.err = err
		}
	}
	return o.err
}

// direct writes to what is below an Output, and keeps the error there.
type direct struct{ o *Output }

// Write is io.Writer's. Each failure is told as the first one.
func (d *direct) Write(p []byte) (int, error) {
	n, err := d.o.w.Write(p)
	if err == nil {
		return n, nil
	}
	if d.o.err == nil {
		d.o.err = err
	}
	return n, d.o.err
}
