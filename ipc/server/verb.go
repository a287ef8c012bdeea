package server

// Verb is what a caller asks for. Each row of the route table names one, and
// the Backend asks its access rules with it, in the same step as the deed. The
// verbs are as fine as the rules have to be: those of a dispatcher's lists and
// of roles, not those of HTTP.
type Verb string

// The verbs.
const (
	VerbHealth  Verb = "health"  // whether the daemon works, and what its API is
	VerbStatus  Verb = "status"  // the daemon at a glance
	VerbRead    Verb = "read"    // dispatchers, jobs, locks, schedules, caches
	VerbOutput  Verb = "output"  // what a job printed
	VerbNotify  Verb = "notify"  // ask for a run
	VerbRetry   Verb = "retry"   // ask for a run like an ended one
	VerbCancel  Verb = "cancel"  // end a job
	VerbHold    Verb = "hold"    // bind a job's life to the caller's
	VerbPause   Verb = "pause"   // pause and resume a dispatcher
	VerbReload  Verb = "reload"  // read the definitions again, or try to
	VerbDrain   Verb = "drain"   // refuse new jobs
	VerbUndrain Verb = "undrain" // accept them again
	VerbUpgrade Verb = "upgrade" // replace the daemon by the installed program
)

// Verbs lists all verbs, so that a test finds one without an access rule.
func Verbs() []Verb {
	return []Verb{
		VerbHealth, VerbStatus, VerbRead, VerbOutput, VerbNotify, VerbRetry, VerbCancel, VerbHold, VerbPause,
		VerbReload, VerbDrain, VerbUndrain, VerbUpgrade,
	}
}

// level is the word for a verb in the API's description (x-access): read,
// notify or admin. It documents; who may do what is the Backend's to decide.
func (v Verb) level() string {
	switch v {
	case VerbHealth, VerbStatus, VerbRead, VerbOutput:
		return "read"
	case VerbNotify, VerbRetry, VerbCancel, VerbHold:
		return "notify"
	}
	return "admin"
}
