package store

import "io"

// What package store_test sees of this one. Its tests fill a State of package
// jobs, which imports this one, so they cannot be in it.
const (
	Page        = page
	Sector      = sector
	LazySync    = lazySync
	RelaxedSync = relaxedSync
)

// OpenOn opens a journal on a disk in memory, and starts its writer.
func OpenOn(d *MemDisk, ahead int64, s State) (*Journal, Report, error) {
	j := newJournal(d, ahead)
	report, err := j.writer.open(s)
	if err == nil {
		go j.writer.run()
	}
	return j, report, err
}

// ReplayFrom replays a journal's text.
func ReplayFrom(from io.ReaderAt, size int64, s State) Report {
	var report Report
	r := replay{state: s, report: &report}
	r.readAll(from, size)
	return report
}

// AppendLine is appendLine.
func AppendLine(buf []byte, r Record) ([]byte, error) { return appendLine(buf, r) }

// DecodeLine is decodeLine.
func DecodeLine(line []byte) (Record, error) { return decodeLine(line) }

// Wake wakes the writer for nothing.
func (j *Journal) Wake() { j.inbox.wakeWriter() }
