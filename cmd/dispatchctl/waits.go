package main

import (
	"fmt"
	"strings"
	"time"

	"dispatchd/ipc"
)

// waits is one line about what a job waits for.
func waits(w ipc.WaitingFor) string {
	text := reason(w)
	if w.Job != "" {
		text += ", behind job " + w.Job
	}
	if w.PID != 0 {
		text += fmt.Sprintf(", held by process %d", w.PID)
	}
	if w.Until != nil {
		text += ", until " + clock(*w.Until)
	}
	if about := estimate(w); about != "" {
		text += ", about " + about
	}
	if w.Detail != "" {
		text += " (" + w.Detail + ")"
	}
	return text
}

// reason is why a job waits, in words.
func reason(w ipc.WaitingFor) string {
	switch w.Reason {
	case ipc.WaitTurn:
		return "waits for its turn"
	case ipc.WaitLock:
		return "waits for " + lockName(w.Lock)
	case ipc.WaitPaused:
		if strings.HasPrefix(w.Detail, "disabled") {
			return "waits: its dispatcher is disabled"
		}
		return "waits: its dispatcher is paused"
	case ipc.WaitDebounce:
		return "waits for quiet (debounce)"
	case ipc.WaitSlot:
		return "waits for a free slot (max_running)"
	case ipc.WaitBackoff:
		return "waits to be tried again"
	case ipc.WaitDisk:
		return "waits for room on a disk"
	}
	return "waits (" + string(w.Reason) + ")"
}

// lockName is a lock's name in words; a dispatcher's own lock has none in its file.
func lockName(name string) string {
	if own, ok := strings.CutPrefix(name, "dispatcher:"); ok {
		return "the lock of dispatcher " + own
	}
	return "lock " + name
}

// estimate is about how long the job still waits; "" = there is no estimate.
func estimate(w ipc.WaitingFor) string {
	if w.EstimateSeconds <= 0 {
		return ""
	}
	return max(time.Second, time.Duration(w.EstimateSeconds*float64(time.Second)).Round(time.Second)).String()
}

// clock is a time of day for people, with its date unless that is today.
func clock(t time.Time) string {
	t = t.Local()
	if y, m, d := time.Now().Date(); y == t.Year() && m == t.Month() && d == t.Day() {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
