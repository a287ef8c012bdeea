//go:build linux && crash

package crash

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
)

// gate is a socket at which children say that they began, and wait until they
// may end.
type gate struct {
	path string
	mu   sync.Mutex
	wait map[string]chan arrival // by dispatcher
}

// arrival is a child at the gate.
type arrival struct {
	job  string
	at   int64
	conn net.Conn // closing it ends the child
}

// openGate listens below a directory.
func openGate(t *testing.T, path string) *gate {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	g := &gate{path: path, wait: map[string]chan arrival{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.admit(c)
		}
	}()
	return g
}

// admit reads who came.
func (g *gate) admit(c net.Conn) {
	line, err := bufio.NewReader(c).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) < 3 {
		_ = c.Close()
		return
	}
	g.at(f[1]) <- arrival{job: f[2], at: now(), conn: c}
}

// at gives the children of a dispatcher as they come.
func (g *gate) at(dispatcher string) chan arrival {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wait[dispatcher] == nil {
		g.wait[dispatcher] = make(chan arrival, 64)
	}
	return g.wait[dispatcher]
}
