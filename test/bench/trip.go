package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// trips gives the median round trip of the C client, in nanoseconds.
func (l *lab) trips(ctx context.Context, socket string, req []byte, n int) (float64, error) {
	cmd := exec.CommandContext(ctx, l.program("trip"), socket, strconv.Itoa(n))
	var wrong bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(req), &wrong
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("trip: %w: %s", err, wrong.String())
	}
	var took []float64
	for field := range strings.FieldsSeq(string(out)) {
		ns, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, err
		}
		took = append(took, ns)
	}
	return median(took), nil
}

// measureTrip times a notify on a kept connection.
func measureTrip(ctx context.Context, l *lab) ([]figure, error) {
	if l.c != "" {
		return []figure{{name: "round trip", note: l.c}}, nil
	}
	echo, err := l.serveAt(ctx, "echo", "echo.sock")
	if err != nil {
		return nil, err
	}
	defer echo.stop()
	b, err := l.openHold(ctx, "relaxed")
	if err != nil {
		return nil, err
	}
	defer b.close()
	plain, err := l.serveAt(ctx, "http", "http.sock")
	if err != nil {
		return nil, err
	}
	defer plain.stop()
	req := request("hold", `{"arguments":{"id":7}}`)
	var ours, library series
	for range 3 * l.rounds { // short rounds: the machine changes its mind
		floor, err := l.trips(ctx, echo.socket, req, l.scaled(2000))
		if err != nil {
			return nil, err
		}
		this, err := l.trips(ctx, b.socket, req, l.scaled(1000))
		if err != nil {
			return nil, err
		}
		that, err := l.trips(ctx, plain.socket, req, l.scaled(1000))
		if err != nil {
			return nil, err
		}
		ours.add(this, floor)
		library.add(that, floor)
	}
	return []figure{
		compare("round trip, relaxed, p50", ours, micros, target{"<=", 8}),
		compare("the same of net/http alone, p50", library, micros, target{}),
	}, nil
}
