package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory reads a field of /proc/PID/smaps_rollup, such as Pss, in bytes.
func memory(pid int, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	kib, err := fieldOf(string(text), field)
	return kib * 1024, err
}

// wakeups counts how often the threads of a process went to sleep of their own
// will, and so were woken. Those of ended threads are lost: an idle daemon's do
// not end.
func wakeups(pid int) (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d: no threads", pid)
	}
	var sum float64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		n, err := fieldOf(string(text), "voluntary_ctxt_switches")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// fieldOf is the number of a "name: number" line.
func fieldOf(text, field string) (float64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("no field %s", field)
}

// children lists the children of all threads of a process.
func children(pid int) (list []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for field := range strings.FieldsSeq(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}

// processorTime is what a process and its ended children took. The kernel tells
// it in hundredths of a second.
func processorTime(pid int) (burnt, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return burnt{}, err
	}
	// The name, in parentheses, may have spaces: count from its end, where the
	// state is the third field.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const state, utime, ticks = 3, 14, 10_000_000
	var sum [4]float64 // utime, stime, cutime, cstime
	for i := range sum {
		n, err := strconv.ParseFloat(fields[utime-state+i], 64)
		if err != nil {
			return burnt{}, err
		}
		sum[i] = n * ticks
	}
	return burnt{own: sum[0] + sum[1], children: sum[2] + sum[3]}, nil
}
