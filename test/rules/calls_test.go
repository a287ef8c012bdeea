package rules

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// kernel stands for syscall and golang.org/x/sys/unix in permits.
const kernel = "kernel"

// permit lets the files of one folder use some names of a package, or "*" all.
type permit struct {
	dir, pkg, names, reason string
}

// permits is the whole list of who may do what to processes, files, sockets
// and the state of the process. What is guarded and not here is refused.
func permits() []permit {
	return []permit{
		// Processes.
		{"daemon/internal/proc", kernel, "*", "processes are its subject"},
		{"daemon/internal/proc", "os", "*", "processes, their output, their sockets"},
		{"daemon/internal/shim", kernel, "*", "a supervisor is a program of its own, and its poll loop is its subject"},
		{"daemon/internal/shim", "os", "*", "the files of an attempt"},
		{"cmd/dispatchctl", kernel, "Exec Access FcntlInt", "with --inherit lock becomes the command that it runs, and hands the lock down; check becomes dispatchd"},
		{"cmd/dispatchctl", kernel, "SysProcAttr WaitStatus IoctlGetInt Getpgrp", "lock holds the locks and waits for its command"},
		{"cmd/dispatchd", "os", "StartProcess OpenFile", "--background"},
		{"cmd/dispatchd", kernel, "SysProcAttr", "--background: a session of its own"},
		{"cmd/dispatchctl", "os", "StartProcess", "the command of lock; os/exec would wait for pipes that its children hold"},
		{"cmd/dispatchctl", kernel, "Statfs PidfdOpen Close Timex Adjtimex", "doctor asks the kernel what there is, and changes nothing"},
		{"daemon/internal/run", kernel, "ForkLock", "a lock is freed when no fork holds a copy of its descriptor"},
		{"daemon", kernel, "Umask", "whatever the daemon makes is writable by itself alone"},
		{"dispatchers", kernel, "CloseOnExec", "a function's own children must not hold the progress pipe"},
		{"dispatchers", "os", "Unsetenv", "a function's own children are not functions again"},
		{"dispatchers", "os", "Exit", "the program was started as a job's child: that was all it had to do"},

		// Files.
		{"daemon/internal/output", kernel, "Fallocate Syscall Syscall6 Seek Ftruncate", "holes in long output"},
		{"daemon/internal/output", kernel, "Open Close Fstat Lstat Flock Read Write Poll PollFd Pipe2 SetNonblock Fchown Fchmod FcntlInt IoctlGetInt", "the pipes that a job prints to, and its log; the lock tells that somebody writes"},
		{"daemon/internal/output", "os", "OpenFile Truncate", "the output of a running job"},
		{"daemon/internal/store", kernel, "Fallocate Syscall Fdatasync Statfs ByteSliceToString Flock", "durability, and a lock between two images; posix_fallocate(2), which x/sys has not for FreeBSD"},
		{"daemon/internal/caches", "os", "Remove", "what a refresh that failed has written"},
		{"daemon/internal/launch", "os", "OpenFile Remove", "the arguments of a job that starts, in the run directory"},
		{"daemon/internal/store", "os", "*", "the state directory is its own"},
		{"ipc/lockfile", kernel, "Open Flock Fstat Stat Lstat Unlink Major Minor SysctlRaw", "lock files and who holds them"},
		{"ipc/lockfile", "os", "OpenFile", "looks who holds a lock"},
		{"dispatchers", "os", "OpenFile", "reads a definition without following a link"},
		{"daemon", "os", "WriteFile Rename Remove MkdirAll Chown", "the run directory: marks of running jobs, the boot's mark, a stale socket"},
		{"daemon", "os", "CreateTemp Unsetenv", "an upgrade in place hands the next image a nameless file"},
		{"cmd/dispatchd", "os", "MkdirTemp MkdirAll WriteFile RemoveAll", "the demo's private root"},
		{"cmd/dispatchctl", "os", "CreateTemp Rename Remove", "--pidfile"},

		{"ipc/console", kernel, "FcntlInt", "was standard output closed"},

		// The socket.
		{"ipc/server", kernel, "Umask SetfsgidRetGid", "0660 without a window, of its group from the first moment"},
		{"ipc/server", kernel, "Conn Poll PollFd", "whether a peer has closed one direction or both"},
		{"ipc/server", kernel, "Rlimit Getrlimit", "connections take at most half of the descriptors"},
		{"ipc/peer", kernel, "Conn GetsockoptUcred Syscall6", "who is at the other end; x/sys has no pid for FreeBSD"},
		{"ipc/server", "os", "Remove Chmod Chown", "its own socket"},
		{"ipc/server", "net", "ListenUnix FileListener", "its own socket, also one that a service manager or the last image opened"},
		{"ipc/server", "net/http", "*", "it is the server"},
		{"ipc/notify", kernel, "Socket Connect SockaddrUnix Read Write Close SetsockoptTimeval NsecToTimeval Timeval", "the tiny client connects without net's poller and threads"},

		// Programs end themselves, libraries do not.
		{"cmd/dispatchd", "os", "Exit", "main"},
		{"cmd/dispatchctl", "os", "Exit", "main"},
		{"cmd/dispatch-notify", "os", "Exit", "main"},
		{"cmd/dispatchd-shim", "os", "Exit", "main"},
	}
}

// deeds are the guarded names of packages whose other names are free.
func deeds() map[string][]string {
	return map[string][]string{
		"os": strings.Fields(`StartProcess FindProcess Exit Chdir Setenv Unsetenv Clearenv
			WriteFile Create CreateTemp OpenFile Rename Remove RemoveAll Mkdir MkdirAll MkdirTemp
			Chmod Chown Lchown Chtimes Truncate Symlink Link CopyFS OpenRoot`),
		"net":      strings.Fields("Listen ListenConfig ListenIP ListenPacket ListenTCP ListenUDP ListenUnix ListenUnixgram FileListener FilePacketConn"),
		"net/http": strings.Fields("Server Serve ServeTLS ListenAndServe ListenAndServeTLS Handle HandleFunc NewServeMux ServeMux DefaultServeMux"),
		"time":     {"Sleep"},
	}
}

// constant matches SIGTERM, O_NOFOLLOW and the like: a number does nothing.
var constant = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// plain are names of syscall and unix that do nothing by themselves either.
func plain() []string {
	return strings.Fields("Errno Signal SignalName Stat_t Statfs_t Timespec Ucred Xucred")
}

// guarded says under which package of permits a name is guarded, "" when it is
// free for all.
func guarded(pkg, name string) string {
	if pkg == "syscall" || pkg == "golang.org/x/sys/unix" {
		if constant.MatchString(name) || slices.Contains(plain(), name) {
			return ""
		}
		return kernel
	}
	if slices.Contains(deeds()[pkg], name) {
		return pkg
	}
	return ""
}

// checkCalls holds what is used of guarded packages against a list of permits.
// Tests are free, but for sleeping, which has a rule of its own.
func checkCalls(list []permit) func(f *file) []string {
	return func(f *file) []string {
		if f.test {
			return nil
		}
		var found []string
		f.used(func(sel *ast.SelectorExpr, pkg, name string) {
			if g := guarded(pkg, name); g != "" && !permitted(list, f.dir, g, name) {
				found = append(found, f.at(sel, "%s uses %s.%s: permits() does not let it", f.dir, pkg, name))
			}
		})
		return found
	}
}

// permitted looks a name up.
func permitted(list []permit, dir, pkg, name string) bool {
	return slices.ContainsFunc(list, func(p permit) bool {
		return p.dir == dir && p.pkg == pkg && (p.names == "*" || slices.Contains(strings.Fields(p.names), name))
	})
}

// checkState keeps the path of the state directory out of all hands but the
// store's: it is given to store.Open and named in messages, nothing else.
func checkState(f *file) []string {
	if f.test || f.dir == "daemon/internal/store" {
		return nil
	}
	fine := map[ast.Expr]bool{}
	ast.Inspect(f.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if ok && f.calls(call, module+"daemon/internal/store.Open", "fmt.Errorf", module+"ipc.Errorf") {
			for _, arg := range call.Args {
				fine[arg] = true
			}
		}
		return true
	})
	var found []string
	ast.Inspect(f.File, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "State" || fine[sel] {
			return true
		}
		if in, ok := sel.X.(*ast.SelectorExpr); ok && in.Sel.Name == "Paths" {
			found = append(found, f.at(sel, "the state directory is the store's; ask it"))
		}
		return true
	})
	return found
}
