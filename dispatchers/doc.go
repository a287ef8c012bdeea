// Package dispatchers reads and judges the definitions of dispatchers: a
// dispatcher's file becomes a Spec, the files of packages and of the admin
// become a Catalog, dispatchd.toml becomes Settings. A Go program registers
// functions of its own as dispatchers in a Set.
//
// What is promised:
//   - Load is strict. An unknown key, a wrong type or a bad value is a Fault with
//     file, row, column, source line and caret; Load reports all faults of all
//     files at once. A bad file disables that dispatcher alone.
//   - Nothing is silently ignored: Load checks a key whose behaviour a later
//     stage brings, and then refuses it as not supported yet.
//   - Load believes a definition only when it, its directory, their parents and
//     the files it includes belong to root or the trusted user and nobody else
//     can write to them. Load opens a file once, never through a symbolic link,
//     and judges the descriptor.
//   - Arguments are never rewritten: a value that does not fit is refused.
//   - A Spec does not change once it is loaded, so that goroutines share it
//     without a lock.
//
// Layers of one dispatcher, each sets single keys anew over those before it:
//
//  1. the registered Go function
//  2. the package's file, or the admin's in its place
//  3. the drop-ins of the package's NAME.d, in the order of their names
//  4. the drop-ins of the admin's NAME.d, in the order of their names
//
// An empty file masks layers 1 to 3 and the dispatcher.
//
// Everything that the package knows of a key is one row in keys.go: how its
// value is read and given back, its default, its sentence for editors. Decoding,
// the merge of layers, suggestions, the schema and Spec.Definition follow from
// the rows. A new key is a row, a field of Spec, the code that applies it and a
// paragraph of dispatcher.toml(5); a test fails until the paragraph is there.
// Package mode has the keys whose values are a few words.
//
// Files, from top to bottom: load.go finds and layers files · build.go judges
// what keys mean together · keys.go has the rows, key.go derives from them,
// field.go and keyfield.go read single values · decode.go gathers faults ·
// toml.go and syntax.go parse with places · fault.go renders · ownership.go,
// includes.go and programs.go judge who could have written a file · facts.go and
// unread.go warn · settings.go is dispatchd.toml
// · schema.go and definition.go describe · arguments.go and locks.go
// treat the arguments of a job · function.go and child.go run Go functions.
package dispatchers
