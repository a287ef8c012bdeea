package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
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
