package shim

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"dispatchd/daemon/internal/proc"

	"golang.org/x/sys/unix"
)

// adoptLegacy takes over an attempt whose supervisor speaks version 1. False: there
// is none.
func adoptLegacy(c *Client) bool {
	file, err := os.OpenFile(c.files.Fifo(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	h := &hints{client: c, file: file}
	c.setWay(h)
	if supervisor := c.supervisor(); supervisor != nil {
		supervisor.Signal(unix.SIGUSR1)
	} else if found, alive := c.find(); alive { // .run was removed
		found.Signal(unix.SIGUSR1)
	}
	go h.read()
	return true
}

// hints is the channel to a supervisor of version 1: its FIFO, whose end is the
// supervisor's, and signals.
type hints struct {
	client *Client
	file   *os.File

	mu   sync.Mutex
	stop bool // is wanted
}

// send is channel's: version 1 knows nothing but stop.
func (h *hints) send(list ...Request) error {
	for _, r := range list {
		if r.Verb != Stop {
			return errors.ErrUnsupported
		}
	}
	h.mu.Lock()
	h.stop = true
	h.mu.Unlock()
	h.sendStop()
	return nil
}

// wantsStop reports whether a stop is wanted.
func (h *hints) wantsStop() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stop
}

// close is channel's.
func (h *hints) close() { _ = h.file.Close() }

// sendStop passes a wanted stop on, as soon as there is somebody to hear it. Before
// .run exists the supervisor may not listen yet; its first line follows.
func (h *hints) sendStop() {
	if !h.wantsStop() {
		return
	}
	if supervisor := h.client.supervisor(); supervisor != nil {
		supervisor.Signal(unix.SIGTERM)
	}
}

// read takes what the supervisor says, to its end.
func (h *hints) read() {
	lines := bufio.NewReader(h.file)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var said hint
		if json.Unmarshal(line, &said) == nil {
			h.sendStop()
			h.client.handle(said.reply())
		}
	}
	_ = h.file.Close()
	if h.client.isLeft() {
		return
	}
	if h.client.supervisor() == nil { // the pipe may have ended because nobody has opened it yet
		s := &search{client: h.client}
		h.client.setWay(s)
		if h.wantsStop() { // one that comes from now on comes to s
			_ = s.send(Request{Verb: Stop})
		}
		s.run()
		return
	}
	waitSupervisor(h.client)
	h.client.gone()
}

// reply is what version 2 would say.
func (h hint) reply() Reply {
	if h.Error != "" {
		return Reply{Error: h.Error, Status: &Status{Phase: Refused}}
	}
	said := proc.Update{Percent: h.Percent, Message: h.Message}
	return Reply{Status: &Status{Phase: Running, Progress: said.Progress(), Late: h.Late}}
}
