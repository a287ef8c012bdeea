package main

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"

	"dispatchd/test/sources"
)

// Every benchmark works, with counts so small that its figures mean nothing.
func TestAll(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("starts daemons, and reads Linux's /proc")
	}
	sources.Look(t)
	var out, wrong bytes.Buffer
	code := run(context.Background(), []string{"-rounds", "1", "-scale", "1", "-rest", "100ms"}, &out, &wrong)
	if code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, wrong.String(), out.String())
	}
	for _, row := range []string{"processor time", "durable", "round trip", "last end", "resident bytes", "status at", "wake-ups", "PSS", "latency added", "PSS of a shim"} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("the table has no row %q:\n%s", row, out.String())
		}
	}
}

// A name that is no benchmark's measures nothing at all.
func TestUsage(t *testing.T) {
	var out, wrong bytes.Buffer
	if code := run(context.Background(), []string{"idle", "nothing"}, &out, &wrong); code != 2 || out.Len() > 0 {
		t.Errorf("exit code %d, output %q; want 2 and none", code, out.String())
	}
	if !strings.Contains(wrong.String(), "usage: bench") {
		t.Errorf("no usage: %q", wrong.String())
	}
}

func TestPrint(t *testing.T) {
	s := series{}
	s.add(300, 100)
	s.add(100, 100)
	s.add(150, 100)
	var out bytes.Buffer
	missed := print(&out, []figure{
		compare("under", s, count, target{"<=", 1.5}),
		compare("over", s, count, target{">=", 1.6}),
		plain("free", s.this, count, target{}),
		{name: "none", note: "no reason"},
	})
	if missed != 1 {
		t.Errorf("%d targets missed, want 1", missed)
	}
	want := []string{
		"under 150 100 1.50× 1.00×–3.00× <= 1.50× ok",
		"over 150 100 1.50× 1.00×–3.00× >= 1.60× MISSED",
		"free 150 100–300",
		"none no reason",
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, line := range lines[1:] {
		if got := strings.Join(strings.Fields(line), " "); got != want[i] {
			t.Errorf("row %d is %q, want %q", i, got, want[i])
		}
	}
}

func TestFieldOf(t *testing.T) {
	text := "Name:\tx\nPss:            1234 kB\nPss_Anon:  9 kB\n"
	if n, err := fieldOf(text, "Pss"); n != 1234 || err != nil {
		t.Errorf("got %v, %v", n, err)
	}
	if _, err := fieldOf(text, "Rss"); err == nil {
		t.Error("a missing field is no error")
	}
}
