package dispatchers

import (
	"strings"
	"time"
)

// Definition gives every key that is in force, named as in the file and with
// values that the file would take. Keys that are empty by default are left out.
func (s *Spec) Definition() map[string]any { return fileKeys().values(s) }

// durationText writes 5m for five minutes, where Go would write 5m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
