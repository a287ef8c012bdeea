package dispatchers

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// text is a string.
func text[S any](at func(*S) *string, check func(string) string) field[S] {
	return field[S]{
		schema: func() Schema { return Schema{"type": "string"} },
		value:  func(s *S) any { return *at(s) },
		decode: func(d *decoder, v *value, s *S) {
			if d.is(v, unstable.String, "a string") && d.printableText(v) && d.checked(v, check) {
				*at(s) = v.text
			}
		},
	}
}

// choice is one of a few words.
func choice[S any, T ~string](at func(*S) *T, words ...T) field[S] {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	list := strings.Join(texts, ", ")
	return field[S]{
		schema: func() Schema { return Schema{"enum": texts} },
		value:  func(s *S) any { return string(*at(s)) },
		decode: func(d *decoder, v *value, s *S) {
			switch {
			case !d.is(v, unstable.String, "one of "+list):
			case !slices.Contains(texts, v.text):
				d.bad(v, suggest(v.text, texts), "%q is not one of %s", clip(v.text), list)
			default:
				*at(s) = T(v.text)
			}
		},
	}
}

// boolean is true or false.
func boolean[S any](at func(*S) *bool) field[S] {
	return field[S]{
		schema: func() Schema { return Schema{"type": "boolean"} },
		value:  func(s *S) any { return *at(s) },
		decode: func(d *decoder, v *value, s *S) {
			if d.is(v, unstable.Bool, "true or false") {
				*at(s) = v.text == "true"
			}
		},
	}
}

// integer is a whole number within bounds.
func integer[S any](at func(*S) *int, lo, hi int64) field[S] {
	return field[S]{
		schema: func() Schema { return whole(lo, hi) },
		value:  func(s *S) any { return *at(s) },
		decode: func(d *decoder, v *value, s *S) {
			if n, ok := d.number(v, lo, hi); ok {
				*at(s) = int(n)
			}
		},
	}
}

// duration is "90s", "5m", "1h30m" or whole seconds, at least lo.
func duration[S any](at func(*S) *time.Duration, lo time.Duration) field[S] {
	return field[S]{
		schema: func() Schema {
			return either(whole(int64(lo/time.Second), int64(maxDuration/time.Second)), durationPattern)
		},
		value: func(s *S) any { return durationText(*at(s)) },
		decode: func(d *decoder, v *value, s *S) {
			n, ok := d.duration(v)
			switch {
			case !ok:
			case n < lo:
				d.bad(v, "", "%s is too short, want at least %s", durationText(n), durationText(lo))
			case n > maxDuration:
				d.bad(v, "", "longer than 100 years")
			default:
				*at(s) = n
			}
		},
	}
}

// size is bytes as an integer or as "64 KiB", at least lo.
func size[S any](at func(*S) *int64, lo int64) field[S] {
	return field[S]{
		schema: func() Schema { return either(whole(lo, maxSize), sizePattern) },
		value:  func(s *S) any { return *at(s) },
		decode: func(d *decoder, v *value, s *S) {
			if n, ok := d.size(v, lo); ok {
				*at(s) = n
			}
		},
	}
}

// list is a list of strings; check judges each of them.
func list[S any](at func(*S) *[]string, check func(string) string) field[S] {
	return field[S]{
		schema: func() Schema { return Schema{"type": "array", "items": Schema{"type": "string"}} },
		value:  func(s *S) any { return slices.Clone(*at(s)) },
		decode: func(d *decoder, v *value, s *S) {
			if texts, ok := d.texts(v, check); ok {
				*at(s) = texts
			}
		},
	}
}

// exitCodes is a list of exit statuses, at least one.
func exitCodes[S any](at func(*S) *[]int) field[S] {
	return field[S]{
		schema: func() Schema { return Schema{"type": "array", "minItems": 1, "items": whole(0, 255)} },
		value:  func(s *S) any { return slices.Clone(*at(s)) },
		decode: func(d *decoder, v *value, s *S) {
			if codes, ok := d.exitCodes(v); ok {
				*at(s) = codes
			}
		},
	}
}

// distinct refuses a list that has the same word twice.
func distinct[S any](f field[S]) field[S] {
	return f.also("uniqueItems", true, func(d *decoder, v *value) {
		seen := map[string]bool{}
		for _, item := range v.items {
			if item.kind == unstable.String && seen[item.text] {
				d.bad(item, "", "%q is in the list twice", clip(item.text))
			}
			seen[item.text] = true
		}
	})
}

// notEmpty refuses an empty list.
func notEmpty[S any](f field[S]) field[S] {
	return f.also("minItems", 1, func(d *decoder, v *value) {
		if v.kind == unstable.Array && len(v.items) == 0 {
			d.bad(v, "leave the key out", "is empty")
		}
	})
}

// also gives a field one more rule, and the schema's word for it.
func (f field[S]) also(rule string, is any, check func(*decoder, *value)) field[S] {
	decode, schema := f.decode, f.schema
	f.schema = func() Schema {
		s := schema()
		s[rule] = is
		return s
	}
	f.decode = func(d *decoder, v *value, s *S) {
		decode(d, v, s)
		check(d, v)
	}
	return f
}

// given leaves a key out of the definition while its value is empty or false:
// it was not set, and nothing follows from it.
func given[S any](f field[S]) field[S] {
	value := f.value
	f.value = func(s *S) any {
		v := value(s)
		if r := reflect.ValueOf(v); r.IsZero() || (r.Kind() == reflect.Slice || r.Kind() == reflect.Map) && r.Len() == 0 {
			return nil
		}
		return v
	}
	return f
}

// when leaves a key out of the definition unless holds does: it means nothing
// without others.
func when[S any](holds func(*S) bool, f field[S]) field[S] {
	value := f.value
	f.value = func(s *S) any {
		if !holds(s) {
			return nil
		}
		return value(s)
	}
	return f
}
