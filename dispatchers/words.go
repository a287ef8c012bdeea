package dispatchers

// fileWords say what each key of a dispatcher's file means, for editors. The
// manual page says more.
func fileWords() map[string]string {
	return map[string]string{
		"description":        "One line for people.",
		"command":            "What is run: a program and its arguments, without a shell.",
		"script":             "Text run by /bin/sh -eu.",
		"package_includes":   "Files that are sourced before the script. A missing one refuses the job (include_missing).",
		"required_packages":  "Packages that must be installed. A missing one refuses the job (package_missing).",
		"timeout":            "Run time of one attempt; 0 = none. It starts when the child starts.",
		"queue_timeout":      "Longest wait in the queue; then the job has expired. 0 = none, default = timeout.",
		"max_queue":          "Jobs that may be queued and running; one more is refused (queue_full). 0 = no limit.",
		"concurrency":        "Runs at a time.",
		"coalesce":           "A notify that finds a queued job with equal arguments joins it.",
		"coalesce_key":       "Only these arguments are compared.",
		"debounce":           "A job starts only after this much quiet since the last notify that joined it.",
		"debounce_max":       "But never later than this; default = ten times debounce.",
		"locks":              "Named locks, taken all or none before the start, released at the end.",
		"locks.exclusive":    "Locks that nobody else may hold; \"cert:{certificate}\" takes a value from the arguments.",
		"locks.shared":       "Locks that others may hold shared, too.",
		"cache":              "Keeps what a successful run prints as data.",
		"cache.max_age":      "How old the data may be before a reader has it refreshed; 0 = any age.",
		"cache.stale_ok":     "Whether readers who do not wait get older data.",
		"cache.format":       "What the data is.",
		"cache.max_size":     "Longer output is refused (cache_invalid).",
		"retry":              "What happens after failed and timed_out.",
		"retry.attempts":     "Further attempts.",
		"retry.backoff":      "Pause before the first retry, doubled for each other.",
		"retry.max_backoff":  "Longest pause.",
		"retry.exit_codes":   "Only these exit statuses are tried again; default = all.",
		"success_exit_codes": "Exit statuses that mean success.",
		"kill_grace":         "SIGTERM, then SIGKILL after this.",
		"kill_mode":          "Who is signalled at a timeout and a cancel: the process group, all descendants, the process alone, nobody.",
		"survive_restart":    "Whether the job outlives a restart, an upgrade or a crash of the daemon.",
		"on_interrupt":       "What happens when a job's end is not known: it is interrupted, or run again.",
		"leftovers":          "What happens to processes that a job left when it ended by itself.",
		"user":               "Who the job runs as; default = the daemon's user.",
		"group":              "Its group; default = the user's.",
		"umask":              "In octal.",
		"working_directory":  "Where it runs.",
		"environment":        "Further variables.",
		"max_output":         "How much of each job's output is kept: its head and its tail.",
		"durability":         "When an accepted job is on disk: before the answer, within a second, never. Default = the daemon's.",
		"schedule":           "hourly, daily, weekly, monthly, five cron fields, @every 15m, or a list of them.",
		"timezone":           "IANA name; default = the machine's.",
		"jitter":             "Spreads due times, the same way each time.",
		"catch_up":           "What becomes of due times that passed while no daemon ran.",
		"overlap":            "What becomes of a due time that finds a run active.",
		"run_on_start":       "Also run when the daemon starts.",
	}
}

// settingsWords say what each key of dispatchd.toml means.
func settingsWords() map[string]string {
	return map[string]string{
		"socket_group":    "Group of the control socket; its members may use the daemon.",
		"durability":      "When an accepted job is on disk: before the answer, within a second, never.",
		"max_running":     "Runs at a time of all dispatchers together; 0 = no limit.",
		"max_outstanding": "Queued and running jobs of all dispatchers together; 0 = no limit.",
		"history_count":   "How many ended jobs are kept.",
		"history_age":     "How long ended jobs are kept.",
		"history_bytes":   "How much room ended jobs may take.",
		"log_bytes":       "How much room the output of all jobs may take.",
		"log_level":       "How much is logged.",
		"log_format":      "Where and how is logged; auto: colours on a terminal, systemd's journal where it takes standard error, else text.",
		"path":            "PATH of the jobs; empty = the built-in one.",
		"package_manager": "Whom required_packages are asked of.",
		"max_connections": "Open connections to the socket; a request above is refused.",
	}
}
