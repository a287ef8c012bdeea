package shim

import (
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers/mode"
)

// A launch comes to a supervisor as a record of fixed layout: a first line that
// says its version, the number of locks that come with it, the fields of proc.Launch
// in the order below, and a last line.
// Numbers are varints, texts have their length before them. To read it takes no
// reflection (encoding/json: 100 µs at first use), and a new field is a new version.
//
// Version 3 is that of 2 with a list of names and values behind the fields. A name that
// a supervisor does not know is one of a newer daemon, and passed over: a field that
// must not be is a new version.
const (
	recordHead = "dispatchd launch 3\n"
	recordTwo  = "dispatchd launch 2\n" // a daemon of the release before starts this program as well
	recordTail = "\nend\n"
)

// Names of what came after version 2.
const (
	extraMarked     = "marked"      // Launch.Marked
	extraTimeoutMax = "timeout_max" // Launch.TimeoutMax, in nanoseconds
)

// maxLaunch bounds the record that a supervisor reads. An environment that is
// longer cannot be executed anyway.
const maxLaunch = 16 << 20

// errTooLong says that a launch is beyond that.
var errTooLong = errors.New("launch: command and environment are longer than 16 MiB")

// maxLocks bounds the locks of an attempt: more descriptors do not fit into one
// message (SCM_MAX_FD is 253), and into no process.
const maxLocks = 1 << 16

// errNoLaunch says that the record has no end: its writer died over it.
var errNoLaunch = errors.New("no launch")

// errRecord says that a record is not what its first line says. The program has been
// replaced by one of another release while its daemon runs: the daemon of that release
// can start the job.
var errRecord = errors.New("launch: not a record of this version")

// appendRecord appends the record of a launch that comes with so many locks.
func appendRecord(b []byte, l *proc.Launch, locks int) []byte {
	b = append(b, recordHead...)
	b = binary.AppendUvarint(b, uint64(locks))
	b = appendText(b, l.Job)
	b = appendText(b, l.Dispatcher)
	b = appendTexts(b, l.Argv)
	b = appendTexts(b, l.Env)
	b = appendText(b, l.Dir)
	b = binary.AppendVarint(b, int64(l.Umask))
	b = appendCredential(b, l.Credential)
	b = appendText(b, l.ArgsFile)
	b = appendText(b, l.OutputFile)
	b = appendText(b, l.DataFile)
	b = binary.AppendVarint(b, l.MaxData)
	b = appendText(b, l.NotifySocket)
	b = binary.AppendVarint(b, int64(l.Timeout))
	b = binary.AppendVarint(b, int64(l.Grace))
	b = appendText(b, string(l.KillMode))
	b = appendText(b, string(l.Leftovers))
	b = binary.AppendVarint(b, l.MaxOutput)
	b = appendText(b, l.Boot)
	b = appendBool(b, l.NoCgroup)
	b = appendText(b, string(l.Files))
	b = appendTexts(b, extras(l))
	return append(b, recordTail...)
}

// extras are the names and values of what came after version 2.
func extras(l *proc.Launch) (list []string) {
	if l.Marked {
		list = append(list, extraMarked, "1")
	}
	if l.TimeoutMax != 0 {
		list = append(list, extraTimeoutMax, strconv.FormatInt(int64(l.TimeoutMax), 10))
	}
	return list
}

// setExtra sets what came after version 2.
func setExtra(l *proc.Launch, name, value string) {
	switch name {
	case extraMarked:
		l.Marked = value == "1"
	case extraTimeoutMax:
		n, _ := strconv.ParseInt(value, 10, 64)
		l.TimeoutMax = time.Duration(n)
	}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

func appendBool(b []byte, yes bool) []byte {
	if yes {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendCredential appends whether there is one, and it.
func appendCredential(b []byte, c *proc.Credential) []byte {
	if b = appendBool(b, c != nil); c == nil {
		return b
	}
	b = binary.AppendUvarint(b, uint64(c.UID))
	b = binary.AppendUvarint(b, uint64(c.GID))
	b = binary.AppendUvarint(b, uint64(len(c.Groups)))
	for _, g := range c.Groups {
		b = binary.AppendUvarint(b, uint64(g))
	}
	return b
}

// parseRecord reads a record.
func parseRecord(b []byte) (l proc.Launch, locks int, err error) {
	if len(b) < len(recordHead)+len(recordTail) || string(b[len(b)-len(recordTail):]) != recordTail {
		return l, 0, errNoLaunch
	}
	head := string(b[:len(recordHead)])
	if head != recordHead && head != recordTwo {
		return l, 0, errRecord
	}
	r := recordReader{rest: b[len(recordHead) : len(b)-len(recordTail)]}
	locks = int(r.count())
	l = proc.Launch{
		Job: r.text(), Dispatcher: r.text(), Argv: r.texts(), Env: r.texts(), Dir: r.text(), Umask: int(r.number()),
		Credential: r.credential(), ArgsFile: r.text(), OutputFile: r.text(), DataOutput: proc.DataOutput{DataFile: r.text(), MaxData: r.number()},
		NotifySocket: r.text(), Timeout: time.Duration(r.number()), Grace: time.Duration(r.number()),
		KillMode: mode.KillMode(r.text()), Leftovers: mode.Leftovers(r.text()), MaxOutput: r.number(), Boot: r.text(),
		Terms: proc.Terms{NoCgroup: r.byte() == 1}, Files: proc.AttemptFiles(r.text()),
	}
	if head == recordHead {
		list := r.texts()
		for i := 1; i < len(list); i += 2 {
			setExtra(&l, list[i-1], list[i])
		}
	}
	if r.bad || len(r.rest) > 0 || len(l.Argv) == 0 || locks < 0 || locks > maxLocks {
		return proc.Launch{}, 0, errRecord
	}
	return l, locks, nil
}

// recordReader reads a record's fields. After the first bad one the rest is empty.
type recordReader struct {
	rest []byte
	bad  bool
}

func (r *recordReader) fail() {
	r.bad, r.rest = true, nil
}

func (r *recordReader) count() uint64 { return varint(r, binary.Uvarint) }
func (r *recordReader) number() int64 { return varint(r, binary.Varint) }

// varint reads a number by decode.
func varint[T uint64 | int64](r *recordReader, decode func([]byte) (T, int)) T {
	n, size := decode(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// length reads how much follows, of a text's bytes or of a list's items. Each item
// has at least one byte, so what is left bounds both.
func (r *recordReader) length() int {
	n := r.count()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *recordReader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *recordReader) text() string {
	n := r.length()
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *recordReader) texts() []string {
	list := make([]string, r.length())
	for i := range list {
		list[i] = r.text()
	}
	return list
}

func (r *recordReader) credential() *proc.Credential {
	if r.byte() != 1 {
		return nil
	}
	c := &proc.Credential{UID: uint32(r.count()), GID: uint32(r.count())}
	for range r.length() {
		c.Groups = append(c.Groups, uint32(r.count()))
	}
	return c
}
