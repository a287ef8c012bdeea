package jsontext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheck(t *testing.T) {
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf("\n\t\"n%d\" : %d", i, i)
	}
	object := "{" + strings.Join(many, " ,") + " }"
	for text, want := range map[string]string{
		`{ "a" : [1, 2.50, "\u00fc", "\ud83d\ude00"] , "b":{}, "c" : [ ] }`: "", "\n null \t": "", `"\\ud800"`: "", `0`: "", object: "",
		strings.Repeat("[", 100) + strings.Repeat("]", 100): "",

		"\"\xe9\"":                          "is not UTF-8 at byte 1",
		"{\"a\":\"\xed\xa0\x80\"}":          "is not UTF-8 at byte 6", // a surrogate as UTF-8
		"\"\xc0\xaf\"":                      "is not UTF-8 at byte 1", // a slash in two bytes
		"\xff\xfe1\x00":                     "is not UTF-8 at byte 0",
		"\ufeff1":                           "byte order mark",
		"":                                  "is empty",
		" \n":                               "is empty",
		`"\ud800"`:                          `\ud800 is half of a surrogate pair`,
		`["\udc00\ud800"]`:                  `\udc00 is half of a surrogate pair`,
		`{"a":1,"a":2}`:                     `name "a" twice in "$"`,
		`{"a":1, "\u0061" :2}`:              `name "a" twice in "$"`,
		`{"b":[{"a b":{"c":1,"c":1}}]}`:     `name "c" twice in "$.b[0].\"a b\""`,
		object[:len(object)-1] + `,"n3":0}`: `name "n3" twice in "$"`,
		strings.Repeat("[", 101) + strings.Repeat("]", 101): "nested deeper than 100 levels",
		`{"a":NaN}`:  "is not JSON: byte 6: invalid character 'N'",
		`{"a":1} {}`: "is not one JSON value: something follows it at byte 9",
		`{"a":1`:     "it ends after 6 bytes, in the middle of a value",
		`{'a':1}`:    "is not JSON: byte 2",
		"\"a\nb\"":   "is not JSON",
		`01`:         "is not one JSON value",
	} {
		got := fmt.Sprint(Check([]byte(text), 100))
		if want == "" && got != "<nil>" || !strings.Contains(got, want) {
			t.Errorf("%.60q: %s, want %q", text, got, want)
		}
	}
}

// checkValue is the scanner once more, by the tokens of encoding/json.
func checkValue(dec *json.Decoder, path string, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= 100 {
		return fmt.Errorf("nested deeper than %d levels", 100)
	}
	if delim == '{' {
		return checkObject(dec, path, depth)
	}
	for i := 0; dec.More(); i++ {
		if err := checkValue(dec, path, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// checkObject reads the members of an object after its brace.
func checkObject(dec *json.Decoder, path string, depth int) error {
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string)
		if seen[name] {
			return fmt.Errorf("name %q twice in %q", clip(name), path)
		}
		seen[name] = true
		if err := checkValue(dec, path, depth+1); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// FuzzStrict: Strict says of a text, compact or not, what encoding/json's tokens say.
func FuzzStrict(f *testing.F) {
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf(`"n%d":%d`, i%39, i)
	}
	for _, text := range []string{
		`1`, ` "a\"`, `{ "a":{"b":[1 ,{"c":"\u0061"}],"\u0062":2,"b":3}}`, `[ [],{},"",[{}] ]`, `{"":1,"":2}`,
		strings.Repeat("[", 101) + strings.Repeat("]", 101), "{" + strings.Join(many, ",") + "}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var compact bytes.Buffer
		if !utf8.ValidString(text) || json.Compact(&compact, []byte(text)) != nil || loneSurrogate(compact.Bytes()) >= 0 {
			return
		}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		want := checkValue(dec, "$", 0)
		for _, form := range [][]byte{[]byte(text), compact.Bytes()} {
			sc := scanner{text: form, depth: 100}
			got := sc.value()
			if (got == nil) != (want == nil) {
				t.Errorf("%s: %v, want %v", form, got, want)
			} else if sc.space(); got == nil && sc.at != len(form) {
				t.Errorf("%s: stopped at byte %d of %d", form, sc.at, len(form))
			}
		}
	})
}
