package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// defaultPath is where commands without a slash are looked for.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// trimEvery is how often a running job's output is held against max_output.
const trimEvery = 250 * time.Millisecond

// launch runs one attempt from its durable start to its end, in a goroutine of
// its own, and reports the end to the loop.
func (e *engine) launch(r *run) {
	if err := e.requirements(context.Background(), r.spec); err != nil {
		e.post(func() { e.attemptEnded(r, proc.Exit{Err: err, Started: time.Now(), Ended: time.Now()}) })
		return
	}
	p, err := e.spawn(r)
	if err != nil {
		e.post(func() { e.attemptEnded(r, proc.Exit{Err: err, Started: time.Now(), Ended: time.Now()}) })
		return
	}
	e.post(func() { e.spawned(r, p) })
	e.watch(r, p)
	exit := p.Exit()
	_ = os.Remove(e.argsFile(r))
	_ = os.Remove(e.beganFile(r.job.ID.String()))
	e.post(func() { e.attemptEnded(r, exit) })
}

// watch bounds the output of a running job until it has ended.
func (e *engine) watch(r *run, p *proc.Process) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return
		case <-tick.C:
			_ = e.dir.TrimLog(r.job.ID, e.dir.LogSize(r.job.ID), r.spec.MaxOutput)
		}
	}
}

// spawned notes that the child exists; a cancel may have come before it did.
func (e *engine) spawned(r *run, p *proc.Process) {
	r.process = p
	switch {
	case e.stopping, r.canceled:
		p.Stop()
	}
}

// spawn prepares the files of a run and starts its child.
func (e *engine) spawn(r *run) (*proc.Process, error) {
	l, err := launchOf(r.spec, e.settings.Path)
	if err != nil {
		return nil, err
	}
	id := r.job.ID.String()
	l.Job, l.Dispatcher = id, r.spec.Name
	l.ArgsFile = e.argsFile(r)
	if err := writeArgs(l.ArgsFile, r.job.Arguments, l.Credential); err != nil {
		return nil, fmt.Errorf("arguments file: %w", err)
	}
	out, err := e.dir.NewLog(r.job.ID)
	if err != nil {
		return nil, fmt.Errorf("output file: %w", err)
	}
	l.OutputFile = out.Name()
	_ = out.Close()
	l.NotifySocket = filepath.Join(e.cfg.Paths.Run, "jobs", id+".notify")
	l.Env = append(l.Env, jobEnv(r.job, r.attempt, l.ArgsFile, e.cfg.Paths.Socket())...)
	p, err := proc.Start(l, func(u proc.Update) { e.post(func() { e.progressed(r, u) }) })
	if err != nil {
		_ = os.Remove(l.ArgsFile)
		return nil, err
	}
	mark, _ := json.Marshal(p.Identity())
	if err := os.WriteFile(e.beganFile(id), mark, 0o600); err != nil {
		e.log.Warn("run directory: the mark of a started job", "job", id, "error", err)
	}
	return p, nil
}

// progressed keeps a running job's last word about itself.
func (e *engine) progressed(r *run, u proc.Update) {
	if u.Percent != nil || u.Message != "" {
		r.progress = &ipc.Progress{Percent: u.Percent, Message: u.Message}
	}
}

// attemptEnded frees the locks and lets the queue decide what follows.
func (e *engine) attemptEnded(r *run, exit proc.Exit) {
	r.release()
	r.state, r.outcome = e.judge(r, exit)
	retryable := !r.canceled && !e.stopping && (r.state == ipc.Failed || r.state == ipc.TimedOut)
	if retryable && len(r.spec.Retry.ExitCodes) > 0 && r.state == ipc.Failed {
		retryable = exit.Err == nil && slices.Contains(r.spec.Retry.ExitCodes, exit.Code)
	}
	if e.stopping && r.state != ipc.Succeeded && r.spec.OnInterrupt == "rerun" && !r.canceled {
		e.leaveForRerun(r)
		return
	}
	e.perform(e.core.Ended(e.now(), r.id, retryable))
}

// leaveForRerun puts a job that the stop interrupted back into the queue of
// the next daemon.
func (e *engine) leaveForRerun(r *run) {
	delete(e.runs, r.id)
	rec := store.Record{Op: store.OpRequeue, ID: r.job.ID, At: time.Now().UnixNano(), Attempt: int32(r.attempt), Run: r.outcome}
	if _, err := e.book.Apply(rec); err == nil {
		e.journal.Append(rec, e.durability(r.spec), true, func(error) {})
	}
}

// judge turns the end of a child into the job's state and outcome.
func (e *engine) judge(r *run, exit proc.Exit) (ipc.State, *store.Run) {
	out := &store.Run{
		StartedAt: exit.Started.UnixNano(), EndedAt: exit.Ended.UnixNano(),
		Result: exit.Result, Progress: exit.Progress, Signal: exit.Signal,
	}
	size := e.dir.LogSize(r.job.ID)
	out.Output = ipc.Output{Bytes: size, Dropped: max(0, size-r.spec.MaxOutput)}
	if out.Output.Dropped > 0 {
		_ = e.dir.TrimLog(r.job.ID, size, r.spec.MaxOutput)
	}
	if exit.Err == nil && exit.Signal == "" {
		out.ExitCode = new(exit.Code)
	}
	fail := func(s ipc.State, k ipc.Kind, format string, args ...any) (ipc.State, *store.Run) {
		out.Error = &ipc.JobError{Kind: k, Message: fmt.Sprintf(format, args...)}
		return s, out
	}
	switch {
	case exit.Err != nil:
		kind := ipc.KindStartFailed
		if p, ok := exit.Err.(*ipc.Error); ok {
			kind = p.Kind
		}
		return fail(ipc.Failed, kind, "%v", exit.Err)
	case r.canceled:
		return fail(ipc.Canceled, ipc.KindCanceled, "canceled while it ran")
	case e.stopping && exit.Canceled:
		return fail(ipc.Interrupted, ipc.KindInterrupted, "the daemon was stopped while it ran")
	case exit.TimedOut:
		return fail(ipc.TimedOut, ipc.KindTimeout, "ran longer than its timeout of %s", time.Duration(r.spec.Timeout))
	case exit.Signal != "":
		return fail(ipc.Failed, ipc.KindSignaled, "ended by signal %s", exit.Signal)
	case !slices.Contains(r.spec.SuccessExitCodes, exit.Code):
		return fail(ipc.Failed, ipc.KindExitStatus, "exit status %d", exit.Code)
	}
	return ipc.Succeeded, out
}

// argsFile is where a run's arguments are while it runs.
func (e *engine) argsFile(r *run) string {
	return filepath.Join(e.cfg.Paths.Run, "jobs", r.job.ID.String()+".args")
}

// beganFile holds the identity of a run's child, for the daemon after a crash.
func (e *engine) beganFile(id string) string {
	return filepath.Join(e.cfg.Paths.Run, "jobs", id+".began")
}

// writeArgs writes the arguments so that only the job's user can read them.
func writeArgs(path string, args json.RawMessage, cred *proc.Credential) error {
	_ = os.Remove(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(args); err != nil {
		_ = f.Close()
		return err
	}
	if cred != nil {
		if err := f.Chown(int(cred.UID), int(cred.GID)); err != nil {
			_ = f.Close()
			return err
		}
	}
	return f.Close()
}

// launchOf makes the part of a launch that follows from the definition alone.
func launchOf(spec *dispatchers.Spec, path string) (proc.Launch, error) {
	if path == "" {
		path = defaultPath
	}
	l := proc.Launch{
		Dir: spec.WorkingDirectory, Umask: spec.Umask, KillMode: spec.KillMode,
		Timeout: time.Duration(spec.Timeout), Grace: time.Duration(spec.KillGrace),
	}
	if l.Dir == "" {
		l.Dir = "/"
	}
	home, name, cred, err := identity(spec)
	if err != nil {
		return l, err
	}
	l.Credential = cred
	if v, ok := spec.Environment["PATH"]; ok {
		path = v
	}
	env := map[string]string{"PATH": path, "LANG": "C.UTF-8", "HOME": home, "USER": name}
	if tz := os.Getenv("TZ"); tz != "" {
		env["TZ"] = tz
	}
	for k, v := range spec.Environment {
		env[k] = v
	}
	for k, v := range env {
		l.Env = append(l.Env, k+"="+v)
	}
	slices.Sort(l.Env)
	l.Argv, err = argv(spec, path)
	if spec.Function {
		l.Env = append(l.Env, dispatchers.FunctionEnv+"="+spec.Name)
	}
	return l, err
}

// argv is what is executed: never through a shell, but for script.
func argv(spec *dispatchers.Spec, path string) ([]string, error) {
	switch {
	case spec.Function:
		self, err := os.Executable()
		return []string{self}, err
	case spec.Script != "":
		var b strings.Builder
		for _, inc := range spec.PackageIncludes {
			b.WriteString(". '" + strings.ReplaceAll(inc, "'", `'\''`) + "'\n")
		}
		b.WriteString(spec.Script)
		return []string{"/bin/sh", "-eu", "-c", b.String(), spec.Name}, nil
	}
	full, err := proc.LookPath(spec.Command[0], path)
	if err != nil {
		return nil, err
	}
	return append([]string{full}, spec.Command[1:]...), nil
}

// identity finds home, name and credential of the user a job runs as. Without
// user and group it is the daemon's own, and no credential is set.
func identity(spec *dispatchers.Spec) (home, name string, cred *proc.Credential, err error) {
	u, err := user.Current()
	if spec.User != "" {
		if u, err = user.Lookup(spec.User); err != nil {
			u, err = user.LookupId(spec.User)
		}
	}
	if err != nil {
		if spec.User != "" {
			return "", "", nil, fmt.Errorf("user %s: %w", spec.User, err)
		}
		return "/", strconv.Itoa(os.Geteuid()), nil, nil // a user without a name
	}
	if spec.User == "" && spec.Group == "" {
		return u.HomeDir, u.Username, nil, nil
	}
	cred = &proc.Credential{UID: id32(u.Uid), GID: id32(u.Gid)}
	if spec.Group != "" {
		g, err := user.LookupGroup(spec.Group)
		if err != nil {
			return "", "", nil, fmt.Errorf("group %s: %w", spec.Group, err)
		}
		cred.GID = id32(g.Gid)
	}
	groups, _ := u.GroupIds()
	for _, g := range groups {
		cred.Groups = append(cred.Groups, id32(g))
	}
	return u.HomeDir, u.Username, cred, nil
}

// id32 reads a numeric user or group id of the system's own database.
func id32(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// jobEnv is what the child learns about its job (SPEC section 4).
func jobEnv(job *store.Job, attempt int, args, socket string) []string {
	env := []string{
		"DISPATCHD_JOB_ID=" + job.ID.String(), "DISPATCHD_DISPATCHER=" + job.Dispatcher,
		"DISPATCHD_ATTEMPT=" + strconv.Itoa(attempt), "DISPATCHD_ORIGIN=" + string(job.Origin),
		"DISPATCHD_SOCKET=" + socket, "DISPATCHD_ARGS_FILE=" + args, "DISPATCHD_PROGRESS_FD=3",
	}
	return append(env, argEnv(job.Arguments)...)
}

// argEnv makes DISPATCHD_ARG_<NAME> of the top-level scalars of an object.
func argEnv(args json.RawMessage) []string {
	var object map[string]json.RawMessage
	if len(args) == 0 || json.Unmarshal(args, &object) != nil {
		return nil
	}
	var env []string
	for name, raw := range object {
		value := string(raw)
		switch raw[0] {
		case '{', '[':
			continue
		case '"':
			if json.Unmarshal(raw, &value) != nil {
				continue
			}
		case 'n':
			value = ""
		}
		if strings.ContainsRune(value, 0) {
			continue // an environment cannot carry it; stdin does
		}
		env = append(env, "DISPATCHD_ARG_"+envName(name)+"="+value)
	}
	slices.Sort(env)
	return env
}

// envName makes an environment name of an argument's: upper case, all other
// characters as an underscore.
func envName(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, s)
}
