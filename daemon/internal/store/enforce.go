package store

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
)

// LogOwner is what is known of the job that a file of output belongs to. The zero
// value is that of a job that nobody knows.
type LogOwner struct {
	Dispatcher string
	Open       bool // the job has not ended: its output stays
	Floor      bool // one of the last of its dispatcher: its output goes last
}

// logFiles are the files of one job's output.
type logFiles struct {
	id    ulid.ULID
	owner LogOwner
	names []string
	use   int64 // blocks of the disk, holes not counted, as long as anybody holds them
}

// RemoveLogs removes the outputs of forgotten jobs.
func (d *Dir) RemoveLogs(ids []ulid.ULID) {
	for _, id := range ids {
		names, _ := filepath.Glob(filepath.Join(d.path, "logs", id.String()+".*"))
		for _, name := range names {
			if isOutput(filepath.Base(name)) {
				removeLog(name)
			}
		}
	}
}

// removeLog removes a file of output. What has it open would keep its blocks until
// it ends, so they are given back first.
func removeLog(path string) {
	_ = os.Truncate(path, 0)
	_ = os.Remove(path)
}

// isOutput reports whether a file of the directory is of a job's output.
func isOutput(name string) bool {
	word, ext, _ := strings.Cut(name, ".")
	_, err := ulid.ParseStrict(word)
	return err == nil && (ext == "log" || ext == "idx")
}

// EnforceLogs removes outputs until all together take at most total bytes of the
// disk, and gives what they take then.
//
// The dispatcher whose outputs take most gives way first, its oldest before the
// rest, so that a noisy one does not push the others out. The last ones of each
// dispatcher go only where that is not enough, and its very last one stays; so
// does that of a job which has not ended.
func (d *Dir) EnforceLogs(total int64, owner func(ulid.ULID) LogOwner) (left int64) {
	list := d.outputs(owner)
	for _, l := range list {
		left += l.use
	}
	last := map[string]ulid.ULID{}
	for _, l := range list {
		last[l.owner.Dispatcher] = l.id
	}
	for _, goes := range []func(*logFiles) bool{
		func(l *logFiles) bool { return !l.owner.Floor },
		func(l *logFiles) bool { return l.owner.Dispatcher == "" || last[l.owner.Dispatcher] != l.id },
	} {
		if left <= total {
			return left
		}
		shares := map[string]int64{}
		for _, l := range list {
			shares[l.owner.Dispatcher] += l.use
		}
		most := Level(slices.Collect(maps.Values(shares)), total)
		list = slices.DeleteFunc(list, func(l *logFiles) bool {
			if l.owner.Open || !goes(l) || shares[l.owner.Dispatcher] <= most {
				return false
			}
			for _, name := range l.names {
				removeLog(filepath.Join(d.path, "logs", name))
			}
			shares[l.owner.Dispatcher] -= l.use
			left -= l.use
			return true
		})
	}
	return left
}

// outputs lists what is there, by age.
func (d *Dir) outputs(owner func(ulid.ULID) LogOwner) []*logFiles {
	entries, _ := os.ReadDir(filepath.Join(d.path, "logs")) // by name
	var list []*logFiles
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || !isOutput(e.Name()) {
			continue
		}
		id := ulid.MustParseStrict(e.Name()[:ulid.EncodedSize])
		if n := len(list); n == 0 || list[n-1].id != id {
			list = append(list, &logFiles{id: id, owner: owner(id)})
		}
		l := list[len(list)-1]
		l.names = append(l.names, e.Name())
		l.use += diskUse(fi)
	}
	return list
}

// Level is how much each may have at most, so that all together have no more than
// the bound: who has less keeps all of it.
func Level(sizes []int64, bound int64) int64 {
	slices.SortFunc(sizes, cmp.Compare[int64])
	for i, size := range sizes {
		each := bound / int64(len(sizes)-i)
		if size > each {
			return each
		}
		bound -= size
	}
	return bound
}
