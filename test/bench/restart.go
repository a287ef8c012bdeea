package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// measureRestart times the start of a daemon whose queue is deep, until it
// answers with all of it known.
func measureRestart(ctx context.Context, l *lab) ([]figure, error) {
	b, err := l.openHold(ctx, "relaxed")
	if err != nil {
		return nil, err
	}
	defer func() { b.close() }()
	n := l.scaled(deep)
	conn, err := dial(b.socket)
	if err != nil {
		return nil, err
	}
	_, err = conn.queue(n)
	conn.close()
	if err != nil {
		return nil, err
	}
	var s series
	for range l.rounds {
		b.stop()
		floor, err := decodeJournal(filepath.Join(b.root, "state", "journal"))
		if err != nil {
			return nil, err
		}
		this, err := b.restart(ctx, l, n)
		if err != nil {
			return nil, err
		}
		s.add(float64(this), float64(floor))
	}
	return []figure{
		plain("to the first answer", s.this, millis, target{"<=", float64(time.Second)}),
		compare("the same, against the file read and decoded", s, millis, target{}),
	}, nil
}

// restart starts the daemon again and takes the time until it has told its
// status, in which all jobs must be.
func (b *box) restart(ctx context.Context, l *lab, queued int) (time.Duration, error) {
	start := time.Now()
	if err := b.start(ctx, l); err != nil {
		return 0, err
	}
	status, err := b.client.Status(ctx)
	took := time.Since(start)
	if err == nil && status.Queued != queued {
		err = fmt.Errorf("%d of %d jobs are queued after the restart", status.Queued, queued)
	}
	return took, err
}

// decodeJournal is the floor: what encoding/json takes for the same lines. It
// checks no sum and keeps nothing.
func decodeJournal(file string) (time.Duration, error) {
	type record struct {
		ID  string          `json:"id"`
		Op  string          `json:"op"`
		At  int64           `json:"at"`
		Job json.RawMessage `json:"job"`
	}
	type job struct {
		ID        string          `json:"id"`
		Arguments json.RawMessage `json:"args"`
		By        []struct {
			UID, GID, PID int
			At            time.Time
		} `json:"by"`
	}
	start := time.Now()
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	const sum = len("0123abcd ")
	for line := range bytes.Lines(text) {
		if len(line) <= sum || line[0] == 0 {
			break // the space that is reserved
		}
		var r record
		if err := json.Unmarshal(line[sum:], &r); err != nil {
			return 0, err
		}
		if r.Job == nil {
			continue
		}
		if err := json.Unmarshal(r.Job, new(job)); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
