// Command client is the floor of dispatch-notify: it connects to a Unix socket,
// writes once, reads once, and ends. A Go program with a connection cannot do
// less.
package main

import (
	"net"
	"os"
)

func main() {
	c, err := net.Dial("unix", os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	if _, err := c.Write([]byte(os.Args[2])); err != nil {
		os.Exit(1)
	}
	var buf [4096]byte
	if n, err := c.Read(buf[:]); n == 0 || err != nil {
		os.Exit(1)
	}
}
