package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// The segments of all batches are the file: in order, nothing twice, nothing left
// out, and each text is good as long as its batch is looked at.
func TestBatch(t *testing.T) {
	var file bytes.Buffer
	for i := range 3 * chunk / 64 {
		fmt.Fprintf(&file, "line %055d\n", i)
		switch i {
		case 100:
			file.WriteString(strings.Repeat("long", chunk/2) + "\n") // longer than what is read at once
		case 200:
			file.WriteString("torn")
			file.Write(make([]byte, chunk+page)) // zeros over the edge of a read
		case 300:
			file.WriteString("\n\n") // empty lines
		}
	}
	file.WriteString("no newline")
	want := file.Bytes()

	s := &scanner{r: &pagedReader{r: bytes.NewReader(want), size: int64(len(want))}}
	at, batches := int64(0), 0
	for list := s.batch(); len(list) > 0; list = s.batch() {
		batches++
		for _, p := range list {
			if p.at != at {
				t.Fatalf("a segment begins at %d, the one before ended at %d", p.at, at)
			}
			at = p.end
			switch raw := want[p.at:p.end]; {
			case p.text == nil && len(bytes.Trim(raw, "\x00")) > 0:
				t.Fatalf("no zeros at %d: %q", p.at, raw)
			case p.text != nil && !bytes.Equal(p.text, bytes.TrimSuffix(raw, []byte("\n"))):
				t.Fatalf("the text at %d is %.80q, want %.80q", p.at, p.text, raw)
			case p.text != nil && p.whole != bytes.HasSuffix(raw, []byte("\n")):
				t.Fatalf("the line at %d is whole: %t", p.at, p.whole)
			}
		}
	}
	if at != int64(len(want)) {
		t.Errorf("the segments end at %d of %d", at, len(want))
	}
	if batches > 12 {
		t.Errorf("%d batches for %d bytes: lines are decoded nearly one by one", batches, len(want))
	}
}

// Each thing is in one part, whatever their numbers are.
func TestShare(t *testing.T) {
	for _, parts := range []int{1, 2, 7} {
		for _, n := range []int{0, 1, 6, 7, 100} {
			seen := make([]int32, n)
			share(parts, n, func(_, from, to int) {
				for i := from; i < to; i++ {
					seen[i]++
				}
			})
			for i, times := range seen {
				if times != 1 {
					t.Errorf("%d of %d things in %d parts is in %d", i, n, parts, times)
				}
			}
		}
	}
}

// Records are encoded in their order, and one that cannot be is an error.
func TestEncodeAll(t *testing.T) {
	records := make([]Record, 50)
	var want []byte
	for i := range records {
		records[i] = Record{Op: OpPause, Dispatcher: fmt.Sprint("d", i), Batch: uint64(i)}
		var err error
		if want, err = appendLine(want, records[i]); err != nil {
			t.Fatal(err)
		}
	}
	buffers := make([][]byte, 3)
	for range 2 { // buffers are used again
		if err := encodeAll(buffers, records); err != nil || !bytes.Equal(bytes.Join(buffers, nil), want) {
			t.Fatalf("got %q, %v; want %q", bytes.Join(buffers, nil), err, want)
		}
	}
	records[40].Job = &Job{Arguments: []byte("{")}
	if err := encodeAll(buffers, records); err == nil {
		t.Error("arguments that are no JSON are encoded")
	}
}
