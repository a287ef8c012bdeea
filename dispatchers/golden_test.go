package dispatchers

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden compares a text with a file of testdata. UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		write(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// inJSON is a value as the API and the schema command write it.
func inJSON(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The schemas are what packages install and editors read.
func TestSchemaGolden(t *testing.T) {
	golden(t, "dispatcher.schema.json", inJSON(t, FileSchema()))
	golden(t, "dispatchd.schema.json", inJSON(t, SettingsSchema()))
}

// TestDefinitionGolden loads each file of testdata/definitions.txtar, and holds
// its definition against the entry behind it.
func TestDefinitionGolden(t *testing.T) {
	const name = "definitions.txtar"
	text, entries := readEntries(t, filepath.Join("testdata", name))
	for _, e := range entries {
		if strings.HasPrefix(e.name, "want ") {
			continue
		}
		spec, faults := merged(e.text)
		if spec == nil {
			t.Fatalf("%s: %v", e.name, faults)
		}
		text += "-- " + e.name + " --\n" + e.text + "-- want " + e.name + " --\n" + inJSON(t, spec.Definition())
	}
	golden(t, name, text)
}
