package queue

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzCore lets bytes choose the steps and looks at the invariants only: it
// does not believe the model either.
func FuzzCore(f *testing.F) {
	f.Add([]byte("0 the queue"))
	// Seeds that walk far, so that a plain "go test" explores too.
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		seed := make([]byte, 1500)
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Add([]byte{0, 7, 0, 1, 2, 3, 0, 0, 0, 0, 1, 0, 0, 3, 3, 5, 9, 13, 1, 0, 0, 5, 4})
	f.Add([]byte{1, 1, 7, 0, 0, 3, 0, 1, 2, 2, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 5, 8})
	f.Fuzz(func(t *testing.T, data []byte) {
		pick := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := int(data[0])
			data = data[1:]
			return b % n
		}
		l := Limits{MaxRunning: pick(4), MaxOutstanding: pick(3) * 8}
		w := newWorld(t, l, pick, nil)
		for _, name := range names() {
			w.define(w.someRules(name))
		}
		for range 300 {
			if len(data) == 0 {
				break
			}
			w.step()
			w.check()
		}
		w.drain()
	})
}

// TestModel lets rapid choose the steps, and compares every effect and every
// reason to wait with the naive model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "pick") }
		l := Limits{MaxRunning: pick(4), MaxOutstanding: pick(3) * 8}
		w := newWorld(rapidTB{t, rt}, l, pick, newModel(l))
		for _, name := range names() {
			w.define(w.someRules(name))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"submit": func(*rapid.T) { w.stepSubmit() }, "end": func(*rapid.T) { w.stepEnd() },
			"time": func(*rapid.T) { w.stepTime() }, "outside": func(*rapid.T) { w.stepOutside() },
			"any": func(*rapid.T) { w.step() },
			"more": func(*rapid.T) {
				for range 8 {
					w.step()
					w.check()
				}
			},
			"": func(*rapid.T) { w.check() },
		})
		w.drain()
	})
}

// rapidTB sends failures to rapid, which shrinks them.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (r rapidTB) Helper()                        {}
func (r rapidTB) Fatalf(format string, a ...any) { r.rt.Fatalf(format, a...) }

// filled is a core with n jobs in one queue.
func filled(n int) *Core {
	c := New(Limits{})
	c.Define(0, Rules{Name: "a", Concurrency: 1, QueueTimeout: time.Hour})
	for i := range n {
		if _, _, err := c.Submit(time.Duration(i), Submission{ID: number(i), Dispatcher: "a"}); err != nil {
			panic(err)
		}
	}
	return c
}

func number(i int) (id ID) {
	for k := range 8 {
		id[k] = byte(i >> (8 * k))
	}
	return id
}

// BenchmarkEnqueue accepts one job and runs one, at two lengths of the queue:
// the cost is to be alike.
func BenchmarkEnqueue(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"at1000", 1000}, {"at100000", 100_000}} {
		b.Run(size.name, func(b *testing.B) {
			c, i := filled(size.n), size.n
			first := 0
			b.ReportAllocs()
			for b.Loop() {
				_, _, err := c.Submit(time.Duration(i), Submission{ID: number(i), Dispatcher: "a"})
				_, started := c.Started(time.Duration(i), number(first))
				_, ended := c.Ended(time.Duration(i), number(first), false)
				if err := errors.Join(err, started, ended); err != nil {
					b.Fatal(err)
				}
				i, first = i+1, first+1
			}
		})
	}
}

// BenchmarkMemory reports the bytes that a queued job takes.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := filled(n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, "B/job")
		runtime.KeepAlive(c)
	}
}
