package dispatchers

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"dispatchd/ipc"
)

// CheckIncludes judges the files that the dispatcher's script or class is about
// to load, as Load did. Anybody may have made a file since that was missing then,
// and a file that was good may be writable by others now. The error is an
// *ipc.Error, KindIncludeMissing for a file that is not there, else
// KindDispatcherDisabled.
func (s *Spec) CheckIncludes(trustUID int) error {
	for _, path := range s.PackageIncludes {
		if err := s.checkLoaded("include", path, trustUID, "install what brings the file, or take it out of package_includes"); err != nil {
			return err
		}
	}
	return nil
}

// CheckBridge judges the program that runs the class of a dispatcher with
// php_class, as CheckIncludes does its includes: it is loaded like one.
func (s *Spec) CheckBridge(path string, trustUID int) error {
	if s.PHPClass == "" {
		return nil
	}
	return s.checkLoaded("PHP bridge", path, trustUID, "install it, or set php_bridge in dispatchd.toml")
}

// checkLoaded judges one file that a run loads. Messages call it thing; missing is
// the suggestion where it is not there.
func (s *Spec) checkLoaded(thing, path string, trustUID int, missing string) error {
	err := trust{uid: trustUID}.include(path)
	if err == nil {
		return nil
	}
	f := fileFault(path, err)
	e := ipc.Errorf(ipc.KindDispatcherDisabled, "%s %s: %s", thing, path, f.Message)
	e.Suggestion = f.Suggestion
	if errors.Is(err, fs.ErrNotExist) {
		e = ipc.Errorf(ipc.KindIncludeMissing, "%s %s: no such file", thing, path)
		e.Suggestion = missing
	}
	e.Dispatcher = s.Name
	return e
}

// include judges a file that a script loads; fs.ErrNotExist when it is missing.
func (t trust) include(path string) error {
	if t.off {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if err := t.directory(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := t.open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkIncludes wants the files that a script loads to be as trusted as itself.
// A missing one is no fault of the definition, since the package that brings it
// may be installed later; jobs are refused until then.
func (b *builder) checkIncludes() {
	v := b.seen["package_includes"]
	if v == nil {
		return
	}
	for _, item := range v.items {
		if !slices.Contains(b.spec.PackageIncludes, item.text) {
			continue
		}
		if err := b.trust.include(item.text); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f := fileFault(item.text, err)
			b.bad(item, f.Suggestion, "%s", err)
		}
	}
}
