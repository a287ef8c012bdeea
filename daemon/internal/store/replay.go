package store

import (
	"bytes"
	"fmt"
)

// Report says what a replay found.
type Report struct {
	Records int
	Fresh   bool     // there was no journal, and none was expected
	Torn    int64    // bytes of an unfinished last write
	Damaged bool     // something that had been written is not readable
	KeptAs  string   // where the damaged file is kept
	Lost    []string // what to tell people
	end     int64    // where the good part ends
	batch   uint64   // the last batch
	store   string   // the store's id in the head
}

// replay folds a journal's text into the book.
func replay(text []byte, b *Book) Report {
	var r Report
	firstBad := int64(-1)
	var bad []int64
	for at := int64(0); at < int64(len(text)); {
		line, next := cut(text, at)
		if line == nil { // allocated ahead, nothing written
			at = next
			continue
		}
		rec, err := decodeLine(line)
		if err != nil || next == at+int64(len(line)) {
			if firstBad < 0 {
				firstBad = at
			}
			bad = append(bad, at)
			at = next
			continue
		}
		r.take(rec, b, len(bad) > 0)
		r.end = next
		at = next
	}
	r.judge(firstBad, len(bad), int64(len(bytes.TrimRight(text, "\x00"))))
	return r
}

// cut gives the line at an offset and where the next one starts; a nil line is
// a run of zeros.
func cut(text []byte, at int64) ([]byte, int64) {
	rest := text[at:]
	if rest[0] == 0 {
		n := len(rest) - len(bytes.TrimLeft(rest, "\x00"))
		return nil, at + int64(n)
	}
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		return rest[:i], at + int64(i) + 1
	}
	return rest, at + int64(len(rest))
}

// take applies one good line. One that does not fit, behind damage, is what is
// left of a job whose acceptance was lost.
func (r *Report) take(rec Record, b *Book, damaged bool) {
	r.Records++
	if rec.Op == opHead {
		r.store = rec.Store
	}
	r.batch = max(r.batch, rec.Batch)
	if _, err := b.Apply(rec); err != nil {
		r.Damaged = true
		r.Lost = append(r.Lost, fmt.Sprintf("a record could not be used: %v", err))
	}
	_ = damaged
}

// judge tells a torn tail from damage: it is torn if nothing good follows.
func (r *Report) judge(firstBad int64, bad int, length int64) {
	switch {
	case firstBad < 0:
	case firstBad >= r.end:
		r.Torn = length - r.end
	default:
		r.Damaged = true
		r.Lost = append(r.Lost, fmt.Sprintf("%d lines are not readable, the first at byte %d; the changes in them are lost", bad, firstBad))
	}
}
