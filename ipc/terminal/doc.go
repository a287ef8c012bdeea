// Package terminal stands between the commands and the terminal of who runs
// them. What a command prints is mostly not its own: names, errors, messages and
// output of jobs, of files and of whoever answers on the socket. Each of them may
// hold control sequences that move the cursor, set the title, paste into the
// shell or turn the direction of the text, so nothing of it reaches a terminal as
// it is (CVE-2021-25743 is kubectl's case):
//
//   - Fprintf makes every argument one line of printable text, EncodeJSON escapes
//     what a JSON text may hold raw. Both do so for pipes, too.
//   - Filter is for the output of a job: lines, tabs and colours pass.
//   - Output is standard output or standard error of a command. On a terminal all
//     that is written to it passes a Filter once more, so that a text which was
//     forgotten above is harmless as well. It also keeps whether everything could
//     be written.
//
// The package needs the standard library alone: dispatch-notify links it.
package terminal
