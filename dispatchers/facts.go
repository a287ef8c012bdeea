package dispatchers

import (
	"os"
	"os/user"
)

// warn notes what makes jobs fail on this host as it is now, though the definition
// is good: a program, a user or a directory may come before the first job.
func (b *builder) warn(v *value, suggestion, format string, args ...any) {
	f := v.src.fault(v.at, v.path, format, args...)
	f.Suggestion = suggestion
	b.warnings = append(b.warnings, f)
}

// checkHost warns of what the host does not have that the definition names.
func (b *builder) checkHost() {
	s := b.spec
	if v := b.seen["user"]; v != nil && b.isValid("user") && s.User != "" {
		if _, ok := userID(s.User); !ok {
			b.warn(v, "make it, or name another; jobs fail until then", "there is no user %q on this host", s.User)
		}
	}
	b.checkGroup("group", s.Group)
	if v := b.seen["group"]; v != nil && b.isValid("group") && isRootGroup(s.Group) && s.User != "" && !isRoot(s.User) {
		b.warn(v, "take it out, or name another group", "gives user %q what root's group may do", s.User)
	}
	if s.Cache != nil {
		b.checkGroup("cache.group", s.Cache.Group)
	}
	if v := b.seen["working_directory"]; v != nil && b.isValid("working_directory") {
		if fi, err := os.Stat(s.WorkingDirectory); err != nil {
			b.warn(v, "", "%s", missing(s.WorkingDirectory, err))
		} else if !fi.IsDir() {
			b.warn(v, "", "%s is no directory", s.WorkingDirectory)
		}
	}
	if v := b.seen["package_includes"]; v != nil && b.isValid("package_includes") {
		for _, item := range v.items {
			if _, err := os.Stat(item.text); err != nil {
				b.warn(item, "install what brings it; jobs are refused until then", "%s", missing(item.text, err))
			}
		}
	}
}

// checkGroup warns of a group that the host does not have.
func (b *builder) checkGroup(key, name string) {
	v := b.seen[key]
	if v == nil || name == "" || !b.isValid(key) {
		return
	}
	if _, ok := groupID(name); !ok {
		b.warn(v, "make it, or name another; jobs fail until then", "there is no group %q on this host", name)
	}
}

// groupID finds the id of a group by name, else by number.
func groupID(name string) (string, bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if g, err = user.LookupGroupId(name); err != nil {
			return "", false
		}
	}
	return g.Gid, true
}

// isRootGroup reports whether a group is root's.
func isRootGroup(name string) bool {
	id, ok := groupID(name)
	return ok && id == "0"
}

// isRoot reports whether a user is root.
func isRoot(name string) bool {
	id, ok := userID(name)
	return ok && id == 0
}
