package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// The levels of a finding.
const (
	levelOK   = "ok"
	levelBad  = "bad"  // to be mended: the exit code is 1
	levelNote = "note" // worth knowing
)

// finding is the result of one check.
type finding struct {
	Level string `json:"level"`
	Code  string `json:"code"` // for programs: it stays, whatever the words become
	What  string `json:"what"`
	Next  string `json:"next,omitempty"`
}

// doctor runs the checks and collects their findings.
type doctor struct {
	app   *app
	ctx   context.Context
	found []finding
	all   []ipc.Dispatcher // with their definitions, as far as they could be had

	online bool // a daemon answers
}

func (d *doctor) ok(code, format string, args ...any) {
	d.found = append(d.found, finding{Level: levelOK, Code: code, What: fmt.Sprintf(format, args...)})
}

func (d *doctor) note(code, next, format string, args ...any) {
	d.found = append(d.found, finding{Level: levelNote, Code: code, What: fmt.Sprintf(format, args...), Next: next})
}

func (d *doctor) bad(code, next, format string, args ...any) {
	d.found = append(d.found, finding{Level: levelBad, Code: code, What: fmt.Sprintf(format, args...), Next: next})
}

// doctorVerb checks the daemon, its files and the machine.
func (a *app) doctorVerb() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong, and say what to do about it",
		Long: `doctor looks at the daemon, its directories, dispatchers, locks and jobs, and at the machine.
Each finding comes with what to do next. The exit code is 1 if there is a finding.
It works without a daemon too, and sees less then.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{app: a, ctx: cmd.Context()}
			d.examine()
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return a.diagnosis(d.found)
		},
	}
}

// examine runs all checks; without a daemon those that need none.
func (d *doctor) examine() {
	s, err := d.app.api().Status(d.ctx)
	paths := s.Directories
	if err != nil {
		p := console.Problem(err)
		d.bad("no_answer", p.Lines()[len(p.Lines())-1], "%s", p.Error())
		paths = guessPaths(ipc.FindSocket(d.app.socket))
		d.binary()
	} else {
		d.online = true
		d.daemon(s)
		d.program(s.PID)
		d.dispatchers()
		d.pending()
		d.schedules()
		d.caches()
		d.jobs()
	}
	d.socket(ipc.FindSocket(d.app.socket))
	d.directories(paths)
	d.space(paths)
	d.locks(paths)
	d.clock(s.StartedAt)
	d.kernel()
	d.unit(s.PID)
	if r := findRestapi(os.Getenv); r != nil {
		d.restapi(r)
	}
}

// guessPaths finds an instance's directories by its socket. A directory that
// does not follow from it is "".
func guessPaths(socket string) ipc.Paths {
	for _, p := range []ipc.Paths{ipc.SystemPaths(), ipc.UserPaths()} {
		if p.Socket() == socket {
			return p
		}
	}
	if p := ipc.RootPaths(filepath.Dir(filepath.Dir(socket))); p.Socket() == socket {
		return p
	}
	return ipc.Paths{Run: filepath.Dir(socket)}
}

// binary checks that the daemon's program is installed.
func (d *doctor) binary() {
	path, err := findDaemon()
	if err != nil {
		p := console.Problem(err)
		d.bad("program_missing", p.Suggestion, "%s", p.Error())
		return
	}
	d.ok("program", "the daemon's program is %s", path)
}

// diagnosis prints the findings, and makes them the exit code.
func (a *app) diagnosis(found []finding) error {
	bad := 0
	for _, f := range found {
		if f.Level == levelBad {
			bad++
		}
		if a.json {
			if err := a.print(f); err != nil {
				return err
			}
			continue
		}
		if a.quiet && f.Level != levelBad {
			continue
		}
		width := console.TerminalWidth(a.out)
		a.printf("%s%s  %s", a.palette().State(f.Level), "    "[len(f.Level):], console.Wrap(f.What, width, 6))
		if f.Next != "" {
			a.printf("      → %s", console.Wrap(f.Next, width, 8))
		}
	}
	if bad == 0 {
		a.talk("nothing is wrong, as far as can be seen from here")
		return nil
	}
	a.talk("%s", console.Count(bad, "finding"))
	return console.Code(1)
}
