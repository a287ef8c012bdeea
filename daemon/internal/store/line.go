package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"strconv"
	"sync"
)

// errBadLine is a line that is not one, or whose checksum is wrong.
var errBadLine = errors.New("bad line")

// checksum is the CRC-32C of a line's JSON.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// appendLine encodes a record: eight hex digits, a space, JSON, a newline.
func appendLine(buf []byte, r Record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return buf, err
	}
	if r.raw != nil { // its job is encoded already
		text = append(text[:len(text)-1], `,"job":`...)
		text = append(append(text, r.raw...), '}')
	}
	buf = fmt.Appendf(buf, "%08x ", checksum(text))
	return append(append(buf, text...), '\n'), nil
}

// decodeLine decodes a line without its newline.
func decodeLine(line []byte) (Record, error) {
	var r Record
	if len(line) < 10 || line[8] != ' ' {
		return r, errBadLine
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || bytes.ContainsAny(line[:8], "ABCDEF+_") || uint32(sum) != checksum(line[9:]) {
		return r, errBadLine
	}
	if err := json.Unmarshal(line[9:], &r); err != nil {
		return r, errBadLine
	}
	return r, nil
}

// decoded is a line and what it says.
type decoded struct {
	segment
	rec Record
	err error
}

// decodeAll decodes the lines among segments, on all processors.
func decodeAll(segments []segment) []decoded {
	list := make([]decoded, len(segments))
	share(runtime.GOMAXPROCS(0), len(segments), func(_, from, to int) {
		for i := from; i < to; i++ {
			list[i].segment = segments[i]
			if segments[i].text != nil {
				list[i].rec, list[i].err = decodeLine(segments[i].text)
			}
		}
	})
	return list
}

// encodeAll encodes records, on all processors, each into a buffer of its own.
func encodeAll(buffers [][]byte, records []Record) error {
	errs := make([]error, len(buffers))
	share(len(buffers), len(records), func(part, from, to int) {
		text := buffers[part][:0]
		for i := from; i < to && errs[part] == nil; i++ {
			text, errs[part] = appendLine(text, records[i])
		}
		buffers[part] = text
	})
	return errors.Join(errs...)
}

// share calls fn for so many parts of n things, at the same time, and waits. On
// one processor JSON is most of a start: 0.68 s to decode 100,000 queued jobs and
// 0.35 s to encode them for the new file.
func share(parts, n int, fn func(part, from, to int)) {
	var wg sync.WaitGroup
	for part := range parts {
		wg.Go(func() { fn(part, n*part/parts, n*(part+1)/parts) })
	}
	wg.Wait()
}
