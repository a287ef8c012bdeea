package api

import (
	"encoding/json"
	"time"

	"dispatchd/ipc"
)

// The ids of the samples.
const (
	id1 = "01JDGS9C1Z8T7QK2M4N6P8R0S2"
	id2 = "01JDGS9D5B3V9X1Y2Z4A6C8E0G"
)

// at is an instant of the samples.
func at(seconds int) time.Time {
	return time.Date(2026, 11, 25, 1, 2, 3, 123456789, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// jobs has one job in each state; together they have every field.
func jobs() map[string]ipc.Job {
	base := ipc.Job{
		ID: id1, Dispatcher: "filter_reload", Arguments: json.RawMessage(`{"interface":"wan","n":12345678901234567890}`),
		Origin: ipc.OriginNotify, CreatedAt: at(0),
		Notifiers: []ipc.Notifier{{Peer: ipc.Peer{UID: 1000, GID: 100, PID: 4711}, At: at(0)}},
	}
	all := map[string]ipc.Job{}
	add := func(s ipc.State, change func(*ipc.Job)) {
		job := base
		job.State = s
		change(&job)
		all[string(s)] = job
	}
	ended := func(j *ipc.Job, k ipc.Kind, why string) {
		j.Attempt, j.StartedAt, j.EndedAt = 1, new(at(1)), new(at(9))
		j.Output = ipc.Output{Bytes: 2 << 20, Dropped: 1 << 20, Lost: 7, Warning: "7 bytes of the output were lost: no space left on device", Open: true}
		if k != "" {
			j.Error = &ipc.JobError{Kind: k, Message: why, ExitStatus: 126}
		}
	}
	add(ipc.Queued, func(j *ipc.Job) {
		j.CoalescedCount = 3
		j.WaitingFor = &ipc.WaitingFor{
			Reason: ipc.WaitLock, Lock: "pf", Job: id2, PID: 4712, Until: new(at(60)), Detail: "about 1m0s", EstimateSeconds: 60.5,
		}
	})
	add(ipc.Running, func(j *ipc.Job) {
		j.Attempt, j.StartedAt, j.Deadline = 2, new(at(1)), new(at(301))
		j.Attempts = []ipc.Attempt{{
			Number: 1, StartedAt: at(-9), EndedAt: at(-5), ExitCode: new(3), Signal: "SIGTERM",
			Error: &ipc.JobError{Kind: ipc.KindExitStatus, Message: "exit status 3", ExitStatus: 126, Detail: json.RawMessage(`{}`)},
		}}
		j.Progress = &ipc.Progress{Percent: new(42.5), Message: "loading rules"}
		j.Output.Bytes = 100
	})
	add(ipc.Succeeded, func(j *ipc.Job) {
		ended(j, "", "")
		j.ExitCode, j.Result = new(0), json.RawMessage(`{"rules":120}`)
	})
	add(ipc.Failed, func(j *ipc.Job) {
		ended(j, ipc.KindExitStatus, "exit status 3")
		j.ExitCode, j.Error.Detail = new(3), json.RawMessage(`{"message":"no such rule","rule":7}`)
	})
	add(ipc.TimedOut, func(j *ipc.Job) { ended(j, ipc.KindTimeout, "ran longer than 5m0s"); j.Signal = "SIGKILL" })
	add(ipc.Canceled, func(j *ipc.Job) { ended(j, ipc.KindCanceled, "canceled"); j.Signal = "SIGTERM" })
	add(ipc.Expired, func(j *ipc.Job) {
		j.EndedAt, j.Error = new(at(300)), &ipc.JobError{Kind: ipc.KindExpired, Message: "waited longer than 5m0s"}
	})
	add(ipc.Interrupted, func(j *ipc.Job) {
		ended(j, ipc.KindInterrupted, "the daemon went down while it ran")
		j.Omitted = []string{"result"}
	})
	return all
}

// dispatcher has every field of a dispatcher.
func dispatcher() ipc.Dispatcher {
	return ipc.Dispatcher{
		Name: "filter_reload", Description: "Loads the packet filter's rules", State: ipc.DispatcherPaused,
		Reason: "filter_reload.toml:3:1: why", Origin: "/etc/dispatchd/dispatchers.d/filter_reload.toml",
		Definition: map[string]any{"command": []string{"/sbin/pfctl"}, "max_queue": 10}, Queued: 2, Running: 1,
		Counters: ipc.Counters{Accepted: 9, Coalesced: 8, Refused: 7, Succeeded: 6, Failed: 5, Canceled: 4, ArgumentsFull: 3, KeysFull: 2},
		LastJob:  id2, LastState: ipc.TimedOut, LastEndedAt: new(at(-60)), LastSuccess: id1, LastSuccessAt: new(at(-90)), Problems: []string{"command /sbin/pfctl: no such file"},
	}
}

// locks has every field of a lock.
func locks() []ipc.Lock {
	return []ipc.Lock{{
		Name: "pf", Waiters: []string{id2}, Waiting: 1,
		Holders: []ipc.LockHolder{{Job: id1, Dispatcher: "filter_reload", PID: 4711, Shared: true, Since: at(1)}},
	}}
}

// status has every field of the status, but those of the server.
func status() ipc.Status {
	return ipc.Status{
		Version: "1.0.0", PID: 4700, StartedAt: at(-60), Draining: true, DrainedBy: &ipc.Notifier{Peer: ipc.Peer{UID: 1000, GID: 100, PID: 4711}, At: at(0)}, Queued: 2, Running: 1, Dispatchers: 12,
		Disabled: []string{"bad"}, Paused: []string{"filter_reload"}, Durability: "disk", Volatile: true, Journal: "ok", Starts: "ok",
		Warnings: []string{"the state directory is in memory"}, Root: "/tmp/box", Directories: ipc.RootPaths("/tmp/box"), History: 100,
		Arguments: ipc.Usage{Used: 4096, Max: 32 << 20}, Keys: ipc.Usage{Used: 12, Max: 100_000},
		Counters:    ipc.Counters{Accepted: 9, Coalesced: 8, Refused: 7, Succeeded: 6, Failed: 5, Canceled: 4, ArgumentsFull: 3, KeysFull: 2},
		OpenOutputs: []ipc.OpenOutput{{Job: id2, Dispatcher: "filter_reload", EndedAt: new(at(-5)), Output: ipc.Output{Bytes: 100, Dropped: 10, Lost: 3, Warning: "3 bytes of the output were lost: no space left on device", Open: true}}},
	}
}

// schedules has every field of a schedule.
func schedules() []ipc.Schedule {
	last := at(-3600)
	return []ipc.Schedule{{
		Dispatcher: "renew", Schedule: []string{"30 2 * * *", "@every 6h"}, Timezone: "Europe/Berlin", Jitter: "42s",
		CatchUp: "latest", Overlap: "queue", Paused: true, Last: &last, Why: "the queue was full", WhyDue: &last,
		Fault: "the machine's clock cannot be right", Next: []time.Time{at(3600)}, Missed: 3, MissedMore: true, Refused: 1, Skipped: 2, LastSkipped: &last,
		LastRun: &ipc.LastRun{Job: id1, State: ipc.Succeeded, Origin: ipc.OriginNotify, StartedAt: at(-120), EndedAt: &last},
	}}
}

// caches has every field of a cache.
func caches() []ipc.Cache {
	refreshed := at(-90)
	return []ipc.Cache{{
		Name: "updates", Description: "package updates", Format: "json", Path: "/tmp/box/cache/updates.json", Size: 512,
		ETag: `"0123"`, RefreshedAt: &refreshed, Age: 90, MaxAge: 60, Fresh: true, FromFuture: true, Refreshing: id1,
		Error: &ipc.CacheError{Kind: ipc.KindTimeout, Message: "ran longer than its timeout of 5m", Job: id2, At: at(-30), RetryAfter: 4},
	}}
}
