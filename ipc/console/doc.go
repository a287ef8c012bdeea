// Package console holds what dispatchd and dispatchctl share in talking to people:
// errors that say what, why and what to do next, command lines whose mistakes
// name the nearest right word, tables, colours, and exit codes. Data goes to
// standard output, talk to standard error; this package decides neither.
package console
