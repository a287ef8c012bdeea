// Command dispatchd-shim is the supervisor of one job. The daemon starts it; it is
// no command for people (dispatchd-shim(8) says what it does).
package main

import (
	"os"

	"dispatchd/daemon/shim"
)

func main() { os.Exit(shim.Main()) }
