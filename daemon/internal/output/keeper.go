package output

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Totals counts what a job printed to its log.
type Totals struct {
	Bytes   int64  `json:"bytes"`
	Dropped int64  `json:"dropped,omitempty"` // left out of the middle, or lost
	Lost    int64  `json:"lost,omitempty"`    // of Dropped: what the disk did not take
	Warning string `json:"warning,omitempty"` // why it was lost
	Open    bool   `json:"open,omitempty"`    // somebody can still write to it
	Data    string `json:"data,omitempty"`    // why the data of a cache is not whole
}

// Files are where a job prints to.
type Files struct {
	Log     string
	MaxLog  int64
	Data    string // standard output, which is data there; "" = the log
	MaxData int64
	Owner   *Owner
}

// Keeper keeps what a job prints: it holds the read ends of its pipes, and copies
// what comes. It lives until the last writer is gone, which may be long after the
// job's end, and never closes before: whoever writes to a pipe that nobody reads is
// ended by SIGPIPE. It belongs to one goroutine, or Out and DataOut to one each.
type Keeper struct {
	Out     *Stream // standard error, and standard output where that is no data
	DataOut *Stream // standard output that is data; nil = there is none

	log  *Log
	data *Data
}

// New makes the pipes for a job, and gives the ends that are its standard output
// and standard error, which may be one. They are the caller's to close.
func New(f Files) (k *Keeper, stdout, stderr int, err error) {
	k = &Keeper{}
	stdout, stderr = -1, -1
	defer func() {
		if err != nil {
			closeAll(stdout, stderr)
			k.Close()
		}
	}()
	if f.Data != "" {
		if k.data, err = OpenData(f.Data, f.MaxData); err != nil {
			return nil, -1, -1, fmt.Errorf("data file: %w", err)
		}
		k.DataOut = &Stream{fd: -1, to: k.data}
		if k.DataOut.fd, stdout, err = newPipe(f.Owner); err != nil {
			return nil, -1, -1, err
		}
	}
	k.log = OpenLog(f.Log, f.MaxLog)
	k.Out = &Stream{fd: -1, to: k.log}
	if k.Out.fd, stderr, err = newPipe(f.Owner); err != nil {
		return nil, -1, -1, err
	}
	if f.Data == "" {
		stdout = stderr
	}
	return k, stdout, stderr, nil
}

// Drain takes what the job has written until now, and counts it: the job has ended.
// What it left behind may go on to write.
func (k *Keeper) Drain() Totals {
	k.Out.Drain()
	k.DataOut.Drain()
	k.log.End()
	t := k.log.Totals()
	t.Open = k.IsOpen()
	if k.data != nil {
		if k.data.err != nil {
			t.Data = k.data.err.Error()
		}
		k.data.Close() // it is read now: nothing may come to it any more
	}
	return t
}

// IsOpen reports whether somebody can still write.
func (k *Keeper) IsOpen() bool { return k.Out.Descriptor() >= 0 || k.DataOut.Descriptor() >= 0 }

// Poll gives the descriptors that poll(2) is to wait for, -1 = not now or not any
// more, and when to ask again, zero = only events matter. A nil Keeper has none.
func (k *Keeper) Poll(now time.Time) (fds [2]int, next time.Time) {
	fds = [2]int{-1, -1}
	if k == nil {
		return fds, next
	}
	for i, s := range k.streams() {
		switch {
		case s.Descriptor() < 0:
		case now.Before(s.rest):
			if next.IsZero() || s.rest.Before(next) {
				next = s.rest
			}
		default:
			fds[i] = s.fd
		}
	}
	return fds, next
}

// streams are the two.
func (k *Keeper) streams() [2]*Stream { return [2]*Stream{k.Out, k.DataOut} }

// Run keeps on, until the last writer is gone, and closes the keeper then.
func (k *Keeper) Run() {
	for k.IsOpen() {
		fds, next := k.Poll(time.Now())
		timeout := -1
		if !next.IsZero() {
			timeout = int(restTime.Milliseconds())
		}
		list := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}, {Fd: int32(fds[1]), Events: unix.POLLIN}}
		if _, err := unix.Poll(list, timeout); err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
		for i, s := range k.streams() {
			if list[i].Revents != 0 {
				s.Copy()
			}
		}
	}
	k.Close()
}

// Interrupt interrupts both streams' Follow.
func (k *Keeper) Interrupt() {
	for _, s := range k.streams() {
		s.Interrupt()
	}
}

// Close gives everything back.
func (k *Keeper) Close() {
	k.Out.Close()
	k.DataOut.Close()
	if k.log != nil {
		k.log.Close()
	}
	if k.data != nil {
		k.data.Close()
	}
}

// closeAll closes descriptors, of which some are not there and two may be one.
func closeAll(a, b int) {
	if a >= 0 {
		_ = unix.Close(a)
	}
	if b >= 0 && b != a {
		_ = unix.Close(b)
	}
}
