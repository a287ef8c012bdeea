// Package dispatchers says what a dispatcher is: every key of its file (Spec),
// how the files of packages and of the admin become a Catalog, and how a Go
// program registers functions of its own (Set).
//
// What is promised:
//   - Load is strict. An unknown key, a wrong type or a bad value is a Fault with
//     file, row, column, source line and caret; all faults of all files are
//     reported at once. A bad file disables that dispatcher alone.
//   - Nothing is silently ignored: a key whose behaviour a later stage brings is
//     checked and then refused as not supported yet.
//   - A definition is believed only when it, its directory, their parents and the
//     files it includes belong to root or the trusted user and are writable by
//     nobody else. A file is opened once, never through a symbolic link, and
//     judged by its descriptor.
//   - Arguments are never rewritten: a value that does not fit is refused.
//
// Layers of one dispatcher, later ones set single keys anew: the registered Go
// function, the package's file or the admin's in its place, the drop-ins of the
// package's NAME.d, the drop-ins of the admin's NAME.d, each in the order of
// their names. An empty file masks everything below it.
package dispatchers
