// Package launch makes of a dispatcher's definition and a job what is executed:
// the argv, the environment, the user, the working directory, the files. It has
// no state and knows no daemon; run calls it.
//
// # What it promises
//
// Everything is resolved when Build is called, and Build is called when the job
// starts: the command's path in PATH, the user, the groups. A tool that was moved
// or a group that was revoked while the job waited counts. Nothing of it is
// cached here; os/user reads its databases at each call.
//
// A user or group id that cannot be read is an error and never 0: 0 is root.
//
// Arguments reach the child by standard input, by a file and by environment
// variables, never by a command line and never through a shell.
//
// Build writes nothing. WriteArguments is the one function here that does.
package launch
