package dispatchers

import (
	"fmt"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"dispatchd/dispatchers/mode"
	"dispatchd/scheduler"
)

// Timing says when a dispatcher is due without anybody asking.
type Timing struct {
	Schedule []string // as scheduler.Parse takes them; nil = only when it is asked for
	Timezone string   // IANA name, "" = the machine's
	Jitter   time.Duration
	CatchUp  mode.CatchUp // runs missed while nothing could run
	Overlap  mode.Overlap // a tick that finds a run active
	OnStart  bool         // also due when the daemon starts
}

// Times gives the parsed schedules. A loaded Spec's have no fault, but the zone
// may have left the machine since.
func (t Timing) Times() ([]scheduler.Schedule, error) {
	loc := time.Local
	if t.Timezone != "" {
		var err error
		if loc, err = time.LoadLocation(t.Timezone); err != nil {
			return nil, fmt.Errorf("timezone: %w", err)
		}
	}
	times := make([]scheduler.Schedule, len(t.Schedule))
	for i, text := range t.Schedule {
		var err error
		if times[i], err = scheduler.Parse(text, loc); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// Cache says that a dispatcher's output is kept as data.
type Cache struct {
	MaxAge  time.Duration // older data is stale, 0 = never
	StaleOK bool          // who asks without saying gets stale data rather than none
	Format  string        // json or text
	MaxSize int64         // of the data, in bytes
}

// defaultCache is a [cache] without keys.
func defaultCache() *Cache {
	return &Cache{StaleOK: true, Format: "json", MaxSize: DefaultCacheSize}
}

// timingKeys are the keys that say when a dispatcher is due by itself.
func (d *decoder) timingKeys(t *Timing) map[string]setter {
	return map[string]setter{
		"schedule":     d.schedule(t),
		"timezone":     d.text(&t.Timezone, timezone),
		"jitter":       d.duration(&t.Jitter, 0),
		"catch_up":     choice(d, &t.CatchUp, t.CatchUp.Values()...),
		"overlap":      choice(d, &t.Overlap, t.Overlap.Values()...),
		"run_on_start": d.boolean(&t.OnStart),
	}
}

// schedule takes one schedule or a list of them.
func (d *decoder) schedule(t *Timing) setter {
	return func(v *value) {
		text := Schema{"type": "string"}
		if v.answer(Schema{"anyOf": []Schema{text, {"type": "array", "minItems": 1, "items": text}}}) {
			return
		}
		items := []*value{v}
		if v.kind == unstable.Array {
			items = v.items
			if len(items) == 0 {
				d.bad(v, "leave the key out", "is empty")
			}
		}
		t.Schedule = nil
		for _, item := range items {
			if !d.is(item, unstable.String, `a schedule such as "daily", "30 2 * * *" or "@every 15m"`) {
				continue
			}
			parsed, err := scheduler.Parse(item.text, time.UTC)
			if err != nil {
				d.bad(item, "", "%s", printable(strings.TrimPrefix(err.Error(), "schedule: ")))
				continue
			}
			t.Schedule = append(t.Schedule, parsed.String())
		}
	}
}

// cache takes the table of a cache.
func (d *decoder) cache(s *Spec) setter {
	return func(v *value) {
		if s.Cache == nil {
			s.Cache = defaultCache()
		}
		c := s.Cache
		d.table(v, map[string]setter{
			"max_age": d.duration(&c.MaxAge, 0), "stale_ok": d.boolean(&c.StaleOK),
			"format": choice(d, &c.Format, "json", "text"), "max_size": d.size(&c.MaxSize, 1),
		}, d.top())
	}
}

// timezone checks an IANA name.
func timezone(s string) string {
	if s == "" || s == "Local" {
		return "want an IANA name such as Europe/Berlin"
	}
	if _, err := time.LoadLocation(s); err != nil {
		return fmt.Sprintf("%q is no IANA time zone known here", clip(s))
	}
	return ""
}

// timing checks what the keys of schedules and caches mean together.
func (b *builder) timing() {
	s := b.spec
	for _, key := range []string{"timezone", "jitter", "catch_up", "overlap"} {
		if v := b.seen[key]; v != nil && b.good(key) && len(s.Schedule) == 0 && b.seen["schedule"] == nil {
			b.report(v, v.keyAt, "set schedule", "means nothing without schedule")
		}
	}
	if v := b.seen["coalesce"]; v != nil && !s.Coalesce && s.Cache != nil {
		b.bad(v, "take it out", "one refresh of a cache serves all, false contradicts it")
	}
	if v := b.seen["concurrency"]; v != nil && s.Concurrency > 1 && s.Cache != nil {
		b.bad(v, "take it out", "a cache is refreshed by one run at a time")
	}
}

// addTiming adds the keys of a schedule that are in force.
func (s *Spec) addTiming(m map[string]any) {
	if len(s.Schedule) > 0 {
		m["schedule"], m["jitter"], m["catch_up"], m["overlap"] = s.Schedule, durationText(s.Jitter), string(s.CatchUp), string(s.Overlap)
		if s.Timezone != "" {
			m["timezone"] = s.Timezone
		}
	}
	if s.OnStart {
		m["run_on_start"] = true
	}
}

// definition is the cache table.
func (c Cache) definition() map[string]any {
	return map[string]any{
		"max_age": durationText(c.MaxAge), "stale_ok": c.StaleOK, "format": c.Format, "max_size": c.MaxSize,
	}
}
