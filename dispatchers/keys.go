package dispatchers

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"dispatchd/dispatchers/mode"
	"dispatchd/scheduler"
)

// fileKeys are the keys of a dispatcher's file, in the order of its manual page.
func fileKeys() keys[Spec] {
	return slices.Concat(operationKeys(), boundKeys(), joinKeys(), lockKeys(), dueKeys(), cacheKeys(), endKeys(), killKeys(), placeKeys(), laterKeys())
}

// operationKeys say what a dispatcher does.
func operationKeys() keys[Spec] {
	return keys[Spec]{
		{
			name: "description", deflt: `""`, field: given(text(func(s *Spec) *string { return &s.Description }, oneLine)),
			doc: "One line for people.",
		}, {
			name: "command", field: command(func(s *Spec) *[]string { return &s.Command }),
			doc: "What is run: a program and its arguments, without a shell.",
		}, {
			name: "script", field: given(text(func(s *Spec) *string { return &s.Script }, notBlank)),
			doc: "Text run by /bin/sh -eu.",
		}, {
			name: "php_class", field: given(text(func(s *Spec) *string { return &s.PHPClass }, className)),
			doc: "A class that the PHP bridge runs, with or without its namespace.",
		}, {
			name: "package_includes", deflt: `[]`, field: given(distinct(list(func(s *Spec) *[]string { return &s.PackageIncludes }, absolutePath))),
			doc: "Files that are loaded before the script or the class. A missing one refuses the job (include_missing).",
		}, {
			name: "required_packages", deflt: `[]`, field: given(distinct(list(func(s *Spec) *[]string { return &s.RequiredPackages }, packageName))),
			doc: "Packages that must be installed. A missing one refuses the job (package_missing).",
		},
	}
}

// boundKeys say how much a dispatcher may take.
func boundKeys() keys[Spec] {
	return keys[Spec]{
		{
			name: "timeout", deflt: `"5m"`, field: duration(func(s *Spec) *time.Duration { return &s.Timeout }, 0),
			doc: "Run time of one attempt; 0 = none. It starts when the child starts.",
		}, {
			name: "timeout_max", field: duration(func(s *Spec) *time.Duration { return &s.TimeoutMax }, 0),
			doc: "How far a job may extend its own timeout, from its start on. 0 = any, default = ten times timeout.",
		}, {
			name: "queue_timeout", field: duration(func(s *Spec) *time.Duration { return &s.QueueTimeout }, 0),
			doc: "Longest wait in the queue; then the job has expired. 0 = none, default = timeout.",
		}, {
			name: "max_queue", deflt: `10`, field: integer(func(s *Spec) *int { return &s.MaxQueue }, 0, math.MaxInt32),
			doc: "Jobs that may be queued and running; one more is refused (queue_full). 0 = no limit.",
		}, {
			name: "max_argument_bytes", deflt: `"16 MiB"`, field: size(func(s *Spec) *int64 { return &s.MaxArgumentBytes }, 0),
			doc: "Arguments of its queued and running jobs together; more are refused (arguments_full). 0 = no limit.",
		}, {
			name: "max_keys", deflt: `25000`, field: integer(func(s *Spec) *int { return &s.MaxKeys }, 0, math.MaxInt32),
			doc: "Idempotency keys that are kept of it; a further one is refused (keys_full). 0 = no limit.",
		}, {
			name: "concurrency", deflt: `1`, field: integer(func(s *Spec) *int { return &s.Concurrency }, 1, 10_000),
			doc: "Runs at a time.",
		}, {
			name: "max_output", deflt: `"1 MiB"`, field: size(func(s *Spec) *int64 { return &s.MaxOutput }, 1),
			doc: "How much of each job's output is kept: its head and its tail.",
		},
	}
}

// joinKeys say which notifies share a run.
func joinKeys() keys[Spec] {
	debounced := func(s *Spec) bool { return s.Debounce > 0 }
	joins := func(s *Spec) bool { return s.Coalesce || debounced(s) }
	return keys[Spec]{
		{
			name: "coalesce", deflt: `false`, field: boolean(func(s *Spec) *bool { return &s.Coalesce }),
			doc: "A notify that finds a queued job with equal arguments joins it.",
		}, {
			name: "coalesce_key", field: given(notEmpty(distinct(list(func(s *Spec) *[]string { return &s.CoalesceKey }, notBlank)))),
			doc: "Only these arguments are compared.",
		}, {
			name: "coalesce_arguments", deflt: `"last"`,
			field: when(joins, word(func(s *Spec) *mode.JoinedArguments { return &s.CoalesceArguments })),
			doc:   "Whose arguments a joined job runs with, where they differ: the last notify's, or the first one's.",
		}, {
			name: "debounce", deflt: `0`, field: when(debounced, duration(func(s *Spec) *time.Duration { return &s.Debounce }, 0)),
			doc: "A job starts only after this much quiet since the last notify that joined it.",
		}, {
			name: "debounce_max", field: when(debounced, duration(func(s *Spec) *time.Duration { return &s.DebounceMax }, 0)),
			doc: "But never later than this; default = ten times debounce.",
		},
	}
}

// lockKeys name what a job must hold.
func lockKeys() keys[Spec] {
	return keys[Spec]{
		{
			name: "locks",
			doc:  "Named locks, taken all or none before the start, released at the end.",
		}, {
			name: "locks.exclusive", field: given(distinct(list(func(s *Spec) *[]string { return &s.Exclusive }, checkTemplate))),
			doc: `Locks that nobody else may hold; "cert:{certificate}" takes a value from the arguments.`,
		}, {
			name: "locks.shared", field: given(distinct(list(func(s *Spec) *[]string { return &s.Shared }, checkTemplate))),
			doc: "Locks that others may hold shared, too.",
		},
	}
}

// dueKeys say when a dispatcher is due without anybody asking.
func dueKeys() keys[Spec] {
	scheduled := func(s *Spec) bool { return len(s.Schedule) > 0 }
	return keys[Spec]{
		{
			name: "schedule", field: given(schedules(func(s *Spec) *[]string { return &s.Schedule })),
			doc: "hourly, daily, weekly, monthly, yearly (or with an @), five cron fields, @every 15m, or a list of them.",
		}, {
			name: "timezone", field: given(timezone(func(s *Spec) *string { return &s.Timezone })),
			doc: "IANA name; default = the machine's.",
		}, {
			name: "jitter", deflt: `0`, field: when(scheduled, duration(func(s *Spec) *time.Duration { return &s.Jitter }, 0)),
			doc: "Spreads due times, the same way each time.",
		}, {
			name: "catch_up", deflt: `"latest"`, field: when(scheduled, word(func(s *Spec) *scheduler.CatchUp { return &s.CatchUp })),
			doc: "What becomes of due times that passed while no daemon ran.",
		}, {
			// The default of a cache is "skip": its active run refreshes the data.
			name: "overlap", deflt: `"queue"`, field: when(scheduled, word(func(s *Spec) *mode.Overlap { return &s.Overlap })),
			doc: "What becomes of a due time that finds a run active.",
		}, {
			name: "run_on_start", deflt: `false`, field: given(boolean(func(s *Spec) *bool { return &s.OnStart })),
			doc: "Also run when the daemon starts.",
		},
	}
}

// cacheKeys say what becomes of a successful run's output. The table, even an
// empty one, makes the dispatcher a cache.
func cacheKeys() keys[Spec] {
	cached := func(s *Spec) bool { return s.Cache != nil }
	return keys[Spec]{
		{
			name: "cache", field: field[Spec]{decode: openCache},
			doc: "Keeps what a successful run prints as data.",
		}, {
			name: "cache.max_age", deflt: `0`, field: when(cached, duration(func(s *Spec) *time.Duration { return &s.Cache.MaxAge }, 0)),
			doc: "How old the data may be before a reader has it refreshed; 0 = any age.",
		}, {
			name: "cache.stale_ok", deflt: `true`, field: when(cached, boolean(func(s *Spec) *bool { return &s.Cache.StaleOK })),
			doc: "Whether readers who do not wait get older data.",
		}, {
			name: "cache.max_stale", deflt: `0`, field: when(cached, duration(func(s *Spec) *time.Duration { return &s.Cache.MaxStale }, 0)),
			doc: "How long after max_age stale data is still given; 0 = any age.",
		}, {
			name: "cache.format", deflt: `"json"`, field: when(cached, choice(func(s *Spec) *string { return &s.Cache.Format }, "json", "text")),
			doc: "What the data is.",
		}, {
			name: "cache.max_size", deflt: `"16 MiB"`, field: when(cached, size(func(s *Spec) *int64 { return &s.Cache.MaxSize }, 1)),
			doc: "Longer output is refused (cache_invalid).",
		}, {
			name: "cache.mode", field: when(cached, given(fileMode(func(s *Spec) *int { return &s.Cache.Mode }))),
			doc: "Mode of its file, in octal; default = for whom the socket is, usually 0640.",
		}, {
			name: "cache.group", field: when(cached, given(text(func(s *Spec) *string { return &s.Cache.Group }, account))),
			doc: "Group of its file; default = the socket's.",
		},
	}
}

// endKeys say what the end of a run means.
func endKeys() keys[Spec] {
	return keys[Spec]{
		{
			name: "success_exit_codes", deflt: `[0]`, field: exitCodes(func(s *Spec) *[]int { return &s.SuccessExitCodes }),
			doc: "Exit statuses that mean success.",
		}, {
			name: "retry",
			doc:  "What happens after failed and timed_out.",
		}, {
			name: "retry.attempts", deflt: `0`, field: integer(func(s *Spec) *int { return &s.Retry.Attempts }, 0, 1000),
			doc: "Further attempts.",
		}, {
			name: "retry.backoff", deflt: `"1s"`, field: duration(func(s *Spec) *time.Duration { return &s.Retry.Backoff }, 0),
			doc: "Pause before the first retry, doubled for each other.",
		}, {
			name: "retry.max_backoff", deflt: `"1m"`, field: duration(func(s *Spec) *time.Duration { return &s.Retry.MaxBackoff }, 0),
			doc: "Longest pause.",
		}, {
			name: "retry.exit_codes", field: given(exitCodes(func(s *Spec) *[]int { return &s.Retry.ExitCodes })),
			doc: "Only these exit statuses are tried again; default = all.",
		},
	}
}

// killKeys say how a run ends that does not end by itself, and what a job
// outlives.
func killKeys() keys[Spec] {
	return keys[Spec]{
		{
			name: "kill_grace", deflt: `"10s"`, field: duration(func(s *Spec) *time.Duration { return &s.KillGrace }, 0),
			doc: "SIGTERM, then SIGKILL after this.",
		}, {
			name: "kill_mode", deflt: `"group"`, field: word(func(s *Spec) *mode.KillMode { return &s.KillMode }),
			doc: "Who is signalled at a timeout and a cancel: the process group, all descendants, the process alone, nobody.",
		}, {
			name: "leftovers", deflt: `"leave"`, field: word(func(s *Spec) *mode.Leftovers { return &s.Leftovers }),
			doc: "What happens to processes that a job left when it ended by itself.",
		}, {
			name: "survive_restart", deflt: `true`, field: boolean(func(s *Spec) *bool { return &s.SurviveRestart }),
			doc: "Whether the job outlives a restart, an upgrade or a crash of the daemon.",
		}, {
			name: "on_interrupt", deflt: `"fail"`, field: word(func(s *Spec) *mode.OnInterrupt { return &s.OnInterrupt }),
			doc: "What happens when a job's end is not known: it is interrupted, or run again.",
		}, {
			name: "durability", field: given(word(func(s *Spec) *mode.Durability { return &s.Durability })),
			doc: "When an accepted job is on disk: before the answer, within a second, never. Default = the daemon's.",
		},
	}
}

// placeKeys say as which user and where a job runs.
func placeKeys() keys[Spec] {
	return keys[Spec]{
		{
			name: "user", field: given(text(func(s *Spec) *string { return &s.User }, account)),
			doc: "Who the job runs as; default = the daemon's user.",
		}, {
			name: "group", field: given(text(func(s *Spec) *string { return &s.Group }, account)),
			doc: "Its group; default = the user's.",
		}, {
			name: "umask", deflt: `"0022"`, field: umask(func(s *Spec) *int { return &s.Umask }),
			doc: "In octal.",
		}, {
			name: "working_directory", deflt: `"/"`, field: text(func(s *Spec) *string { return &s.WorkingDirectory }, absolutePath),
			doc: "Where it runs.",
		}, {
			name: "environment", field: given(variables(func(s *Spec) *map[string]string { return &s.Environment })),
			doc: "Further variables.",
		},
	}
}

// laterKeys are keys whose behaviour a later stage brings. A definition that uses
// one fails now, and not on the day when the key begins to act. Their values go
// nowhere: Spec gets a field for each with its stage.
func laterKeys() keys[Spec] {
	dispatchers := distinct(list(nowhere[Spec, []string], dispatcherName))
	who := distinct(list(nowhere[Spec, []string], member))
	return keys[Spec]{
		{name: "on_success", since: later, field: dispatchers},
		{name: "on_failure", since: later, field: dispatchers},
		{name: "arguments", since: later, field: field[Spec]{decode: argumentTypes}},

		{name: "limits", since: later},
		{name: "limits.memory", field: size(nowhere[Spec, int64], 0)},
		{name: "limits.file_size", field: size(nowhere[Spec, int64], 0)},
		{name: "limits.core", field: size(nowhere[Spec, int64], 0)},
		{name: "limits.processes", field: integer(nowhere[Spec, int], 1, math.MaxInt32)},
		{name: "limits.open_files", field: integer(nowhere[Spec, int], 4, math.MaxInt32)},
		{name: "limits.cpu_seconds", field: integer(nowhere[Spec, int], 1, math.MaxInt32)},
		{name: "limits.nice", field: integer(nowhere[Spec, int], -20, 19)},

		{name: "access", since: later},
		{name: "access.notify", field: who},
		{name: "access.read", field: who},
		{name: "access.cancel", field: who},

		{name: "confirm", since: later},
		{name: "confirm.within", field: duration(nowhere[Spec, time.Duration], time.Second)},
		{name: "confirm.rollback", field: command(nowhere[Spec, []string])},
	}
}

// nowhere takes a value that no code reads yet.
func nowhere[S, T any](*S) *T { return new(T) }

// argumentTypes judges [arguments]: name = "type", or a table with more rules.
func argumentTypes(d *decoder, v *value, _ *Spec) {
	if !d.is(v, unstable.Table, "a table from name to type") {
		return
	}
	rules := argumentKeys()
	kind := rules.find("type")
	for _, field := range v.fields {
		if field.kind != unstable.Table {
			kind.decode(d, field, &struct{}{})
			continue
		}
		if field.names["type"] == nil {
			d.bad(field, "", "has no type, want one of %s", strings.Join(jsonTypes(), ", "))
		}
		rules.table(d, field, "", &struct{}{})
	}
}

// jsonTypes are the types that an argument can have.
func jsonTypes() []string {
	return []string{"string", "integer", "number", "boolean", "array", "object"}
}

// argumentKeys are the rules of one argument.
func argumentKeys() keys[struct{}] {
	return keys[struct{}]{
		{name: "type", field: choice(nowhere[struct{}, string], jsonTypes()...)},
		{name: "required", field: boolean(nowhere[struct{}, bool])},
		{name: "pattern", field: text(nowhere[struct{}, string], pattern)},
		{name: "enum", field: field[struct{}]{decode: func(d *decoder, v *value, _ *struct{}) {
			if d.is(v, unstable.Array, "a list of values") && len(v.items) == 0 {
				d.bad(v, "leave the key out", "is empty")
			}
		}}},
		{name: "min", field: field[struct{}]{decode: bound}},
		{name: "max", field: field[struct{}]{decode: bound}},
	}
}

// bound judges a number.
func bound(d *decoder, v *value, _ *struct{}) {
	if v.kind != unstable.Integer && v.kind != unstable.Float {
		d.bad(v, "", "want a number, not %s", v.kindName())
	}
}
