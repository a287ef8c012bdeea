package daemon

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers"
)

// identity finds home, name and credential of the user a job runs as, with the
// groups that the user is in. Without user and group, or where they are the
// daemon's own, no credential is set.
func identity(spec *dispatchers.Spec) (home, name string, cred *proc.Credential, err error) {
	u, err := user.Current()
	if spec.User != "" {
		if u, err = user.Lookup(spec.User); err != nil {
			u, err = user.LookupId(spec.User)
		}
	}
	if err != nil {
		if spec.User != "" || spec.Group != "" {
			return "", "", nil, fmt.Errorf("user %s: %w", spec.User, err)
		}
		return "/", strconv.Itoa(os.Geteuid()), nil, nil // a user without a name
	}
	if spec.User == "" && spec.Group == "" {
		return u.HomeDir, u.Username, nil, nil
	}
	cred = &proc.Credential{UID: id32(u.Uid), GID: id32(u.Gid)}
	if spec.Group != "" {
		g, err := group(spec.Group)
		if err != nil {
			return "", "", nil, err
		}
		cred.GID = id32(g.Gid)
	}
	// A job with fewer groups than its user has would fail in strange ways.
	groups, err := u.GroupIds()
	if err != nil {
		return "", "", nil, fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	for _, g := range groups {
		cred.Groups = append(cred.Groups, id32(g))
	}
	if own(cred) {
		cred = nil
	}
	return u.HomeDir, u.Username, cred, nil
}

// group finds a group by its name or number.
func group(name string) (*user.Group, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		g, err = user.LookupGroupId(name)
	}
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", name, err)
	}
	return g, nil
}

// own reports whether a credential is what the daemon has anyway, or all that a
// daemon that may not change its own can give.
func own(c *proc.Credential) bool {
	if int(c.UID) != os.Geteuid() || int(c.GID) != os.Getegid() {
		return false
	}
	if !proc.MayChangeUser() {
		return true
	}
	has, err := os.Getgroups()
	if err != nil {
		return false
	}
	for _, g := range has {
		if !slices.Contains(c.Groups, uint32(g)) {
			return false
		}
	}
	return !slices.ContainsFunc(c.Groups, func(g uint32) bool { return g != c.GID && !slices.Contains(has, int(g)) })
}

// mayRunAs says why no job of this daemon can run as a user or group, "" when
// it can. One that is not known is told of by the run.
func mayRunAs(name, groupName string) string {
	_, _, cred, err := identity(&dispatchers.Spec{User: name, Group: groupName})
	if err != nil || cred == nil || proc.MayChangeUser() {
		return ""
	}
	return "the daemon runs as user " + strconv.Itoa(os.Geteuid()) + " and may not run a job as another user or group"
}

// id32 reads a numeric user or group id of the system's own database.
func id32(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}
