package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/oklog/ulid/v2"
)

// open reads what is there and begins a new file. So it is compact, and no
// doubt about the end of the old one remains.
func (w *writer) open(s State) (Report, error) {
	report, size, err := w.replay(s)
	if err != nil {
		return report, err
	}
	w.number = report.number
	w.timeline.resume(report.moment, report.lived)
	known := w.readID()
	w.checkStoreID(&report, known, size)
	if report.Damaged && size > 0 {
		w.damaged = true
		report.KeptAs, err = w.keepDamaged()
	}
	if err == nil {
		err = w.replace(s.Snapshot())
	}
	if err == nil && w.id != known {
		err = w.writeID()
	}
	if err != nil {
		_ = w.health.setFailed(err) // SetOnFail tells it
	}
	return report, nil
}

// replay reads the journal.
func (w *writer) replay(s State) (Report, int64, error) {
	var report Report
	f, err := w.disk.open("journal")
	if errors.Is(err, os.ErrNotExist) {
		return report, 0, nil
	}
	if err != nil {
		return report, 0, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.size()
	if err != nil {
		return report, 0, err
	}
	r := replay{state: s, report: &report}
	r.readAll(f, size)
	return report, size, nil
}

// keepDamaged gives a damaged journal a name that stays, before it is replaced.
func (w *writer) keepDamaged() (string, error) {
	if !w.damaged {
		return "", nil
	}
	name, err := w.disk.keepDamaged("journal")
	if err != nil {
		return "", fmt.Errorf("keep the damaged journal: %w", err)
	}
	w.damaged = false
	return name, nil
}

// checkStoreID compares the journal with the id that is kept beside it, so that
// an empty or missing one is not taken for a fresh start.
func (w *writer) checkStoreID(r *Report, known string, size int64) {
	lost := func(text string) { r.Damaged, r.Lost = true, append(r.Lost, text) }
	switch {
	case size == 0 && known == "":
		r.Fresh = true
	case size == 0:
		lost("it is missing or empty; jobs and history before this start are lost")
	case r.store != "" && known != "" && known != unreadable && r.store != known:
		lost("it belongs to another store than the file id says")
	}
	w.id = known
	if r.store != "" {
		w.id = r.store
	}
	if _, err := ulid.ParseStrict(w.id); err != nil {
		w.id = ulid.Make().String()
	}
}

// unreadable stands for an id that is there and cannot be read. The journal's
// own is taken then, and written anew.
const unreadable = "?"

// readID reads the store's id, "" where there is none.
func (w *writer) readID() string {
	f, err := w.disk.open("id")
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		return unreadable
	}
	defer func() { _ = f.Close() }()
	text := make([]byte, ulid.EncodedSize)
	if n, _ := f.ReadAt(text, 0); n < len(text) {
		return unreadable
	}
	return string(text)
}

// writeID puts the store's id beside the journal.
func (w *writer) writeID() error {
	f, err := w.disk.create("id.new")
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(w.id))
	if err = errors.Join(err, f.sync(), f.Close()); err != nil {
		return err
	}
	if err := w.disk.rename("id.new", "id"); err != nil {
		return err
	}
	return w.disk.sync()
}
