package box

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Play runs testdata/*.txt, each in a subtest. begin starts a story and gives
// what answers its lines; an answer ends with a newline or is empty. A block of
// comments alone has no answers. UPDATE_TRANSCRIPTS=1 writes the answers down;
// read the diff before you believe it.
func Play(t *testing.T, begin func(t *testing.T) (answer func(line string) string)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { play(t, file, begin(t)) })
	}
}

// play plays one file.
func play(t *testing.T, file string, answer func(line string) string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimRight(string(raw), "\n"), "\n\n") {
		commands, _, isBlock := strings.Cut(block, "\n----")
		if !isBlock {
			out.WriteString(block + "\n\n") // only comments
			continue
		}
		out.WriteString(commands + "\n----\n")
		for line := range strings.SplitSeq(commands, "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				out.WriteString(answer(line))
			}
		}
		out.WriteString("\n")
	}
	got := strings.TrimRight(out.String(), "\n") + "\n"
	if os.Getenv("UPDATE_TRANSCRIPTS") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(raw), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
