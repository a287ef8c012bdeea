package daemon

import (
	"os"
	"strings"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/shim"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// RunShim is the whole life of a job's shim, the small supervisor process by
// which a job outlives its daemon. A program that embeds the daemon calls it
// when it is started by what it gave as Config.Shim, before anything else, and
// exits with its result.
func RunShim() int {
	proc.SetName(shim.Name) // who looks for the daemon by its name must not meet its jobs
	return shim.Main()
}

// notOfAJob refuses to be a daemon in a process that was started for one job. A
// program that forgets to call RunShim or Set.Main would be a daemon there, which
// would find the job and start it again, and so on until no process is left.
func notOfAJob() error {
	for _, by := range []struct{ env, call string }{
		{shim.Env, "daemon.RunShim"}, {dispatchers.FunctionEnv, "dispatchers.Set.Main"},
	} {
		if os.Getenv(by.env) != "" {
			p := ipc.Errorf(ipc.KindInternal, "%s is set: this process was started for a job, not to be a daemon", by.env)
			p.Suggestion = "call " + by.call + " first thing in main"
			return p
		}
	}
	return nil
}

// forgetJob takes out of the environment what belongs to a job, where a job has
// restarted this daemon: its readiness is not the job's progress, and what it starts
// is not the job's.
func forgetJob() {
	if os.Getenv("DISPATCHD_JOB_ID") == "" {
		return
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "DISPATCHD_") && name != handoverEnv || name == "NOTIFY_SOCKET" {
			_ = os.Unsetenv(name)
		}
	}
}

// keepers are the programs that keep the output of what jobs left running: the
// supervisor's, and ourselves, where that one is of another release by now.
func keepers(program []string) [][]string {
	if program == nil {
		return nil
	}
	return [][]string{program, {shim.OwnProgram(), "shim"}}
}
