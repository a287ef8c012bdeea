// Package console is how dispatchd and dispatchctl speak to people: errors that
// say what, why and what to do next, wrong command lines with the nearest right
// word, colours where they are wanted, and exit codes.
package console
