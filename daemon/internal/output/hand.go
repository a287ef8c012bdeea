package output

import "golang.org/x/sys/unix"

// Handed is a keeper on its way to another program, or to the next image of this
// one. Its descriptors are named by their numbers there, -1 = there is none.
type Handed struct {
	Pipe     int `json:"pipe"`
	DataPipe int `json:"data_pipe"`
	LogFile  int `json:"log_fd"`
	DataFile int `json:"data_fd"`

	Log  HandedLog  `json:"log"`
	Data HandedData `json:"data"`
}

// HandedLog is what is known of a log.
type HandedLog struct {
	Path    string `json:"path"`
	Max     int64  `json:"max"`
	Bytes   int64  `json:"bytes"`
	Lost    int64  `json:"lost,omitempty"`
	Untold  int64  `json:"untold,omitempty"`
	Cause   string `json:"cause,omitempty"`
	Ended   bool   `json:"ended,omitempty"`
	Skipped bool   `json:"skipped,omitempty"`
}

// HandedData is what is known of a cache's data.
type HandedData struct {
	Max   int64  `json:"max,omitempty"`
	Cause string `json:"cause,omitempty"` // why it is not whole
}

// Hand says what another program needs to go on, and lists the descriptors that go
// with it. number gives the number that each will have there. The keeper is used no
// more, unless nobody takes over.
func (k *Keeper) Hand(number func(place, fd int) int) (h Handed, fds []int) {
	k.log.settle()
	give := func(fd int) int {
		if fd < 0 {
			return -1
		}
		fds = append(fds, fd)
		return number(len(fds)-1, fd)
	}
	h.Pipe, h.DataPipe, h.LogFile, h.DataFile = give(k.Out.Descriptor()), give(k.DataOut.Descriptor()), give(k.log.fd), -1
	l := k.log
	h.Log = HandedLog{Path: l.path, Max: l.max, Bytes: l.bytes, Lost: l.lost, Untold: l.untold, Ended: l.ended, Skipped: l.skipped}
	if l.cause != nil {
		h.Log.Cause = l.cause.Error()
	}
	if d := k.data; d != nil {
		h.DataFile = give(d.fd)
		h.Data.Max = d.max
		if d.err != nil {
			h.Data.Cause = d.err.Error()
		}
	}
	return h, fds
}

// Take goes on with a keeper that another program has handed over.
func Take(h Handed) *Keeper {
	l := &Log{
		path: h.Log.Path, max: h.Log.Max, fd: h.LogFile, bytes: h.Log.Bytes, lost: h.Log.Lost, untold: h.Log.Untold,
		ended: h.Log.Ended, skipped: h.Log.Skipped,
	}
	if h.Log.Cause != "" {
		l.cause = told(h.Log.Cause)
	}
	if l.fd >= 0 {
		l.size, _ = unix.Seek(l.fd, 0, unix.SEEK_END)
	}
	k := &Keeper{log: l, Out: &Stream{fd: h.Pipe, to: l}}
	if h.DataPipe >= 0 || h.DataFile >= 0 {
		k.data = &Data{fd: h.DataFile, max: h.Data.Max}
		if h.DataFile >= 0 {
			k.data.size, k.data.err = unix.Seek(h.DataFile, 0, unix.SEEK_END)
		}
		if h.Data.Cause != "" {
			k.data.err = told(h.Data.Cause)
		}
		k.DataOut = &Stream{fd: h.DataPipe, to: k.data}
	}
	for _, s := range []*Stream{k.Out, k.DataOut} {
		if fd := s.Descriptor(); fd >= 0 {
			_ = unix.SetNonblock(fd, true)
		}
	}
	return k
}

// told is an error in the words of another program.
type told string

// Error is error's.
func (t told) Error() string { return string(t) }
