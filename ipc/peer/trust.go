package peer

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"dispatchd/ipc"
)

// ServerUserEnv names the environment variable with the user, by name or by
// number, whose daemon a client trusts besides root's and its own.
const ServerUserEnv = "DISPATCHD_SERVER_USER"

// Trusted gives an error where the process that serves a socket is neither root's
// nor the caller's own, nor that of the named user; "" = whom $DISPATCHD_SERVER_USER
// names. Whoever makes the socket's directory first would get every argument
// otherwise (libpq asks so by requirepeer). A client asks before it sends a byte.
func Trusted(server ipc.Peer, socket, named string) error {
	if named == "" {
		named = os.Getenv(ServerUserEnv)
	}
	if server.UID == 0 || server.UID == os.Geteuid() {
		return nil
	}
	if named != "" {
		uid, ok := userID(named)
		if ok && server.UID == uid {
			return nil
		}
		if !ok {
			p := ipc.Errorf(ipc.KindForbidden, "the user %q whose daemon is to be trusted is not known here", named)
			p.Suggestion = "set " + ServerUserEnv + " to the name or the number of the user that runs dispatchd"
			return p
		}
	}
	p := ipc.Errorf(ipc.KindForbidden, "socket %s is served by %s: neither root nor you (uid %d); nothing was sent", socket, who(server), os.Geteuid())
	p.Suggestion = "if dispatchd is to run as that user, set " + ServerUserEnv + "=" + strconv.Itoa(server.UID)
	return p
}

// who names a process by what the kernel said of it.
func who(p ipc.Peer) string {
	text := "uid " + strconv.Itoa(p.UID)
	if p.PID > 0 {
		text += " (process " + strconv.Itoa(p.PID) + ")"
	}
	return text
}

// userID finds a user's number in /etc/passwd. Package os/user would link the C
// library into the tiny client wherever it is built with cgo.
func userID(name string) (int, bool) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(n), true
	}
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 3 || fields[0] != name {
			continue
		}
		n, err := strconv.ParseUint(fields[2], 10, 32)
		return int(n), err == nil
	}
	return 0, false
}
