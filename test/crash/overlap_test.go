//go:build linux && crash

package crash

import (
	"cmp"
	"slices"
)

// span is a time in which something was held, as itself or shared.
type span struct {
	from, to int64
	who      string
	shared   bool
}

// overlaps checks that no dispatcher ran more often than its concurrency, and
// that no exclusive lock had two holders.
func (c *checker) overlaps() {
	own, named := map[string][]span{}, map[string][]span{}
	for _, r := range c.runs {
		s := span{from: r.from, to: r.to, who: "job " + r.job + " of " + r.dispatcher}
		own[r.dispatcher] = append(own[r.dispatcher], s)
		rule := c.rule[r.dispatcher]
		if rule.exclusive != "" {
			named[rule.exclusive] = append(named[rule.exclusive], s)
		}
		if s.shared = true; rule.shared != "" {
			named[rule.shared] = append(named[rule.shared], s)
		}
	}
	for _, h := range c.holds {
		named[h.lock] = append(named[h.lock], span{from: h.from, to: h.to, who: "a process outside"})
	}
	for name, spans := range own {
		c.crowd(name, spans, max(1, c.rule[name].concurrency))
	}
	for name, spans := range named {
		c.lock(name, spans)
	}
}

// crowd reports each span that begins while too many others last.
func (c *checker) crowd(name string, spans []span, most int) {
	sortSpans(spans)
	var open []span
	for _, s := range spans {
		open = slices.DeleteFunc(open, func(o span) bool { return o.to <= s.from })
		if open = append(open, s); len(open) > most {
			c.report("overlap", "%s: %s began %d µs before %s ended, %d at a time are allowed", name, s.who, (open[0].to-s.from)/1000, open[0].who, most)
		}
	}
}

// lock reports each holder that meets another, unless both share.
func (c *checker) lock(name string, spans []span) {
	sortSpans(spans)
	var open []span
	for _, s := range spans {
		open = slices.DeleteFunc(open, func(o span) bool { return o.to <= s.from })
		for _, o := range open {
			if !s.shared || !o.shared {
				c.report("lock", "lock %s: %s had it %d µs before %s let it go", name, s.who, (o.to-s.from)/1000, o.who)
			}
		}
		open = append(open, s)
	}
}

func sortSpans(list []span) {
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
}
