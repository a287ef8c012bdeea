package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// spread is what several rounds gave.
type spread struct{ mid, min, max float64 }

// spreadOf sums up rounds; without any it is zero.
func spreadOf(rounds []float64) spread {
	if len(rounds) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(rounds))
	return spread{mid: s[len(s)/2], min: s[0], max: s[len(s)-1]}
}

// median is the middle of a round's samples.
func median(samples []float64) float64 { return spreadOf(samples).mid }

// series collects the rounds of a thing and of its floor.
type series struct{ this, floor []float64 }

// add takes in one round.
func (s *series) add(this, floor float64) {
	s.this, s.floor = append(s.this, this), append(s.floor, floor)
}

// ratios are this by floor, round by round.
func (s *series) ratios() []float64 {
	out := make([]float64, len(s.this))
	for i := range out {
		out[i] = s.this[i] / s.floor[i]
	}
	return out
}

// target is what a figure should be; the zero value is none.
type target struct {
	op    string // <= or >=
	value float64
}

// met reports whether the median of the rounds is within the target.
func (t target) met(s spread) bool {
	switch t.op {
	case "<=":
		return s.mid <= t.value
	case ">=":
		return s.mid >= t.value
	}
	return true
}

// unit writes a number for people.
type unit func(float64) string

// figure is one row of the table.
type figure struct {
	name        string
	this, floor string // what was compared, "" = nothing
	value       spread
	unit        unit
	target      target
	note        string // instead of all numbers: why there are none
}

// compare makes a figure of a thing and its floor.
func compare(name string, s series, u unit, t target) figure {
	return figure{
		name: name, this: u(spreadOf(s.this).mid), floor: u(spreadOf(s.floor).mid),
		value: spreadOf(s.ratios()), unit: times, target: t,
	}
}

// plain makes a figure that has no floor.
func plain(name string, rounds []float64, u unit, t target) figure {
	return figure{name: name, value: spreadOf(rounds), unit: u, target: t}
}

// mean makes a figure of the mean of several, with the least and the greatest.
func mean(name string, all []float64, u unit, t target) figure {
	f := plain(name, all, u, t)
	f.value.mid = 0
	for _, v := range all {
		f.value.mid += v / float64(len(all))
	}
	return f
}

// print writes the rows and counts the targets that were missed.
func print(w io.Writer, figures []figure) (missed int) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  \tthis\tfloor\tmedian\tleast–most\ttarget\t")
	for _, f := range figures {
		if f.note != "" {
			fmt.Fprintf(table, "  %s\t%s\n", f.name, f.note)
			continue
		}
		wanted, verdict := "", ""
		if f.target.op != "" {
			wanted, verdict = f.target.op+" "+f.unit(f.target.value), "ok"
			if !f.target.met(f.value) {
				verdict = "MISSED"
				missed++
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s–%s\t%s\t%s\n", f.name, f.this, f.floor,
			f.unit(f.value.mid), f.unit(f.value.min), f.unit(f.value.max), wanted, verdict)
	}
	_ = table.Flush()
	return missed
}

// The units. Times are in nanoseconds, sizes in bytes.

func times(v float64) string  { return fmt.Sprintf("%.2f×", v) }
func count(v float64) string  { return fmt.Sprintf("%.0f", v) }
func rate(v float64) string   { return fmt.Sprintf("%.0f/s", v) }
func size(v float64) string   { return fmt.Sprintf("%.0f B", v) }
func mebi(v float64) string   { return fmt.Sprintf("%.2f MiB", v/(1<<20)) }
func millis(v float64) string { return fmt.Sprintf("%.2f ms", v/float64(time.Millisecond)) }
func micros(v float64) string { return fmt.Sprintf("%.1f µs", v/float64(time.Microsecond)) }
