// Package peer asks the kernel who is at the other end of a Unix socket, whether
// a client may trust that process with what it sends, and what that process does
// while it does not answer. It imports the standard library only: the tiny
// client links it.
package peer
