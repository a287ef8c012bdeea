package store

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
)

// A log that must be there and is not says so, and a link in its place is not
// followed: it could lead to any file.
func TestLogThatIsGone(t *testing.T) {
	d, id := logged(t, "text\n")
	secret := d.LogPath(ulid.Make())
	if err := os.Rename(d.LogPath(id), secret); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		t.Helper()
		r := d.ReadLog(t.Context(), id, LogQuery{Printed: true, Ended: ended()})
		defer func() { _ = r.Close() }()
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := read(); !strings.Contains(got, "removed or renamed") {
		t.Errorf("%q", got)
	}
	if err := os.Symlink(secret, d.LogPath(id)); err != nil {
		t.Fatal(err)
	}
	if got := read(); !strings.Contains(got, "symbolic link") || strings.Contains(got, "text\n") {
		t.Errorf("%q", got)
	}
	if _, err := d.NewLog(id); err == nil || d.LogSize(id) != 0 {
		t.Errorf("the link is written to: %v", err)
	}
}
