package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	source "dispatchd/test/box"
)

// Every benchmark works, with counts so small that its figures mean nothing.
func TestAll(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("starts daemons, and reads Linux's /proc")
	}
	source.Look(t)
	var out, wrong bytes.Buffer
	code := run(t.Context(), []string{"-rounds", "1", "-scale", "1", "-rest", "100ms"}, &out, &wrong)
	if code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, wrong.String(), out.String())
	}
	for _, row := range []string{
		"processor time", "durable", "direct, relaxed, p50", "round trip", "net/http alone", "cached read", "one after another", "last end", "the defaults",
		"one job's supervisor", "100 jobs in a row", "latency added", "mean of ten", "resident bytes", "status at", "first answer", "wake-ups", "PSS, fresh",
	} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("the table has no row %q:\n%s", row, out.String())
		}
	}
}

// A wrong command line measures nothing at all.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"idle"}, {"-only", "idle,nothing"}, {"-rounds", "0"}, {"-scale", "0"}} {
		var out, wrong bytes.Buffer
		if code := run(t.Context(), args, &out, &wrong); code != 2 || out.Len() > 0 {
			t.Errorf("%q: exit code %d, output %q; want 2 and none", args, code, out.String())
		}
		if !strings.Contains(wrong.String(), "Usage of bench") {
			t.Errorf("%q: no usage: %q", args, wrong.String())
		}
	}
}

// -list says what there is, and -only chooses of it, in its own order.
func TestList(t *testing.T) {
	var out, wrong bytes.Buffer
	if code := run(t.Context(), []string{"-only", "idle,gap", "-only", "trip", "-list"}, &out, &wrong); code != 0 {
		t.Fatalf("exit code %d: %s", code, wrong.String())
	}
	var names []string
	for line := range strings.Lines(out.String()) {
		names = append(names, strings.Fields(line)[0])
	}
	if want := []string{"idle", "gap", "trip"}; !slices.Equal(names, want) {
		t.Errorf("it lists %q, want %q", names, want)
	}
}

// Programs that somebody else built are looked for before anything is measured.
func TestBinMissing(t *testing.T) {
	source.Look(t) // the floors are built all the same
	var out, wrong bytes.Buffer
	if code := run(t.Context(), []string{"-bin", t.TempDir(), "-dir", t.TempDir(), "-only", "idle"}, &out, &wrong); code != 1 || !strings.Contains(wrong.String(), "no programs named") {
		t.Errorf("exit code %d, %q; want 1 and no programs", code, wrong.String())
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

func TestMean(t *testing.T) {
	f := mean("all", []float64{1, 2, 9}, count, target{"<=", 4})
	if want := (spread{mid: 4, min: 1, max: 9}); f.value != want {
		t.Errorf("got %+v, want %+v", f.value, want)
	}
}

// The stamps of jobs come back as they were left, and only once.
func TestStamps(t *testing.T) {
	s := stamps{file: filepath.Join(t.TempDir(), "stamps")}
	left := []stamp{{100, 110}, {150, 160}, {180, 190}}
	var text bytes.Buffer
	if err := binary.Write(&text, binary.NativeEndian, left); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if gap, err := s.gap(3); gap != 40 || err != nil {
		t.Errorf("the gap is %v, %v; want 40", gap, err)
	}
	if list, err := s.take(); len(list) != 0 || err != nil {
		t.Errorf("a second time there are %v, %v", list, err)
	}
	if _, err := s.gap(3); err == nil {
		t.Error("missing stamps are no error")
	}
}

// A process's own processor time grows with what it does, and so does that of
// its children once they have ended.
func TestProcessorTime(t *testing.T) {
	before, err := processorTime(os.Getpid())
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no /proc of Linux")
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		if err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done").Run(); err != nil {
			t.Fatal(err)
		}
		after, err := processorTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after.children > before.children && after.own >= before.own {
			return
		}
	}
}
