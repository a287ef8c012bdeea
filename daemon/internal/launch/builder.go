package launch

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// Builder makes launches. It does not change once it is in use, and any number
// of goroutines may call it.
type Builder struct {
	Settings dispatchers.Settings
	Socket   string // path of the daemon's socket, for DISPATCHD_SOCKET
	BootID   string // proc.BootID, read once a process
	Users    Users
	Packages Packages
	Zone     func() string // the time zone in force: SystemZone
}

// Job is what a launch needs to know of a job.
type Job struct {
	ID         string
	Dispatcher string
	Attempt    int // from 1
	Origin     ipc.Origin
	Arguments  json.RawMessage // empty = none
}

// Outputs are the files that a child prints to.
type Outputs struct {
	Log  string // of both outputs; "" = the caller's own
	Data string // of standard output, where that is a cache's data; "" = Log
}

// Build resolves a definition and a job into a launch. It opens and writes
// nothing; the arguments file that the launch names has to be written by
// WriteArguments before the start.
func (b *Builder) Build(s *dispatchers.Spec, j Job, f proc.AttemptFiles, out Outputs) (proc.Launch, error) {
	l := proc.Launch{
		Job: j.ID, Dispatcher: s.Name, Files: f, NotifySocket: f.Notify(), OutputFile: out.Log, Boot: b.BootID,
		Dir: cmp.Or(s.WorkingDirectory, "/"), Umask: s.Umask, KillMode: s.KillMode, Leftovers: s.Leftovers,
		MaxOutput: s.MaxOutput, Timeout: s.Timeout, Grace: s.KillGrace, Terms: proc.Terms{TimeoutMax: s.TimeoutMax},
	}
	if s.Cache != nil && out.Data != "" {
		l.DataFile, l.MaxData = out.Data, s.Cache.MaxSize
	}
	if len(j.Arguments) > 0 {
		l.ArgsFile = f.Args()
	}
	account, err := b.Users.Resolve(s.User, s.Group)
	if err != nil {
		return l, err
	}
	l.Credential = account.Credential
	path := b.path(s)
	if l.Argv, err = b.argv(s, path); err != nil {
		return l, err
	}
	l.Env = append(baseEnvironment(s, path, b.Zone(), account), Environment(j, l.ArgsFile, b.Socket)...)
	return l, nil
}

// path is the PATH of a dispatcher's jobs.
func (b *Builder) path(s *dispatchers.Spec) string {
	if path, set := s.Environment["PATH"]; set {
		return path
	}
	return cmp.Or(b.Settings.Path, dispatchers.DefaultPath)
}

// argv is what is executed. Only a script goes through a shell, and only its own
// text does: arguments never become part of it.
func (b *Builder) argv(s *dispatchers.Spec, path string) ([]string, error) {
	full, err := b.program(s, path)
	switch {
	case err != nil:
		return nil, err
	case s.Function:
		return []string{full}, nil
	case s.Script != "":
		var text strings.Builder
		for _, include := range s.PackageIncludes {
			text.WriteString(". '" + strings.ReplaceAll(include, "'", `'\''`) + "'\n")
		}
		text.WriteString(s.Script)
		return []string{full, "-eu", "-c", text.String(), s.Name}, nil
	case s.PHPClass != "":
		words := []string{full, "-f", b.Settings.PHPBridge, "--", "run", "--loader=" + b.Settings.PHPLoader, s.PHPClass}
		return append(words, s.PackageIncludes...), nil
	}
	return append([]string{full}, s.Command[1:]...), nil
}

// program is the first word of argv.
func (b *Builder) program(s *dispatchers.Spec, path string) (string, error) {
	switch {
	case s.Function:
		return os.Executable()
	case s.Script != "":
		return "/bin/sh", nil
	case s.PHPClass != "":
		return dispatchers.LookPath(b.Settings.PHP, path)
	}
	return dispatchers.LookPath(s.Command[0], path)
}

// Check refuses a job whose packages are missing, or whose program, PHP bridge or
// includes could have been written by others than root, this user, and for the
// program the job's user; bridge and includes must be there, too. The error is an
// *ipc.Error. A job is checked when it is accepted and again when it starts: packages
// come and go while it waits.
func (b *Builder) Check(ctx context.Context, s *dispatchers.Spec) error {
	uid := os.Geteuid()
	path := b.path(s)
	if program, err := b.program(s, path); err == nil && !s.Function { // a program that is missing is the start's to name
		if err := s.CheckProgram(program, path, uid); err != nil {
			return err
		}
	}
	if s.PHPClass != "" || len(s.PackageIncludes) > 0 { // most have neither
		if err := s.CheckBridge(b.Settings.PHPBridge, uid); err != nil {
			return err
		}
		if err := s.CheckIncludes(uid); err != nil {
			return err
		}
	}
	return b.checkPackages(ctx, s)
}

// Problems lists what would make the dispatcher's next job fail before it
// begins, nil = nothing is known.
func (b *Builder) Problems(ctx context.Context, s *dispatchers.Spec) []string {
	var list []string
	l, err := b.Build(s, Job{}, "", Outputs{})
	if err != nil {
		list = append(list, err.Error())
	} else if _, err := os.Stat(l.Argv[0]); err != nil {
		list = append(list, "command: "+err.Error())
	}
	if err := b.Check(ctx, s); err != nil {
		list = append(list, err.Error())
	}
	return list
}

// baseEnvironment is the part of a child's environment that follows from the
// definition and the user, sorted. Nothing of the daemon's own environment gets
// there but a TZ: a daemon that was started by hand must run its jobs as one that
// the service manager started.
func baseEnvironment(s *dispatchers.Spec, path, zone string, a Account) []string {
	env := map[string]string{"PATH": path, "LANG": "C.UTF-8", "HOME": a.Home, "USER": a.Name, "TZ": zone}
	maps.Copy(env, s.Environment)
	list := make([]string, 0, len(env)+1)
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	if s.Function {
		list = append(list, dispatchers.FunctionEnv+"="+s.Name)
	}
	return list
}
