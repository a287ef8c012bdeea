package dispatchers

import (
	"regexp"
	"strings"
	"testing"

	"dispatchd/ipc/lockfile"
)

// shapes are the rules of words, each with the expression that says the same.
func shapes() map[string]struct {
	rule func(string) bool
	same *regexp.Regexp
} {
	type shape = struct {
		rule func(string) bool
		same *regexp.Regexp
	}
	silent := func(check func(string) string) func(string) bool {
		return func(s string) bool { return check(s) == "" }
	}
	return map[string]shape{
		"dispatcher": {ValidName, regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)},
		"variable":   {isVariable, regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)},
		"package":    {silent(packageName), regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._:@~/-]{0,199}$`)},
		"account":    {silent(account), regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?$`)},
		"lock":       {isLock, regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$`)},
		"lock file":  {lockfile.ValidName, regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$`)},
		"bare key":   {isBare, regexp.MustCompile(`^[A-Za-z0-9_-]+$`)},
		"class":      {silent(className), regexp.MustCompile(`^\\?[A-Za-z_][A-Za-z0-9_]*(\\[A-Za-z_][A-Za-z0-9_]*)*$`)},
		"size": {
			func(s string) bool { _, _, ok := sizeOf(s); return ok },
			regexp.MustCompile(`^([0-9]{1,15}) ?(B|KiB|MiB|GiB)$`),
		},
	}
}

// words are at the edges of the rules.
func words() []string {
	list := []string{
		"", "a", "Z", "_", "0", "9", "-", ".", "$", "a$", "a$$", "$a", " a", "a ", "a\n", "ä", "a\x80", "a\x00", "a/b", "a+b", "a~b", "a@b",
		"a:b", "a.b", "a-b", "a_b", "A0_-", `\A`, `\`, `A\B`, `A\`, `\\A`, `A\\B`, `A\0`, "`", "{", "[", "@", ":", "/",
		"1 B", "1B", "1  B", "64 KiB", "64 kib", "KiB", " KiB", "1 KiB ", "-1 B", "123456789012345 B", "1234567890123456 B", "1 TiB",
	}
	for _, n := range []int{63, 64, 65, 66, 127, 128, 129, 199, 200, 201, 255, 256, 257} {
		list = append(list, strings.Repeat("a", n), strings.Repeat("a", n)+"$")
	}
	return list
}

func TestShapes(t *testing.T) {
	for name, shape := range shapes() {
		fits := 0
		for _, word := range words() {
			got := shape.rule(word)
			if got {
				fits++
			}
			if want := shape.same.MatchString(word); got != want {
				t.Errorf("%s: %.40q (%d bytes): %v, want %v", name, word, len(word), got, want)
			}
		}
		if fits == 0 {
			t.Errorf("%s: no word fits", name)
		}
	}
}

// Whatever the word, the rules say what the expressions say.
func FuzzShapes(f *testing.F) {
	for _, word := range words() {
		f.Add(word)
	}
	all := shapes()
	f.Fuzz(func(t *testing.T, word string) {
		for name, shape := range all {
			if got, want := shape.rule(word), shape.same.MatchString(word); got != want {
				t.Errorf("%s: %q: %v, want %v", name, word, got, want)
			}
		}
	})
}
