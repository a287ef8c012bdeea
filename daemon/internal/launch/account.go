package launch

import (
	"fmt"
	"math"
	"os"
	"os/user"
	"slices"
	"strconv"

	"dispatchd/daemon/internal/proc"
)

// Account is the user that a job runs as.
type Account struct {
	Home, Name string
	Credential *proc.Credential // nil = the daemon's own
}

// Users finds accounts. SystemUsers asks the system; tests have a table.
type Users interface {
	// Resolve finds the account of a user and a group, each by its name or number;
	// "" is the daemon's user, and the user's group.
	Resolve(user, group string) (Account, error)
}

// SystemUsers resolves by the system's own databases, anew at each call: a group
// that a user was taken out of is not given to the next job.
type SystemUsers struct{}

// Resolve is Users'. Where neither user nor group is set, or both are the
// daemon's own, the account has no credential: such a job also starts under a
// daemon that may not change its user.
func (SystemUsers) Resolve(name, group string) (Account, error) {
	u, err := findUser(name)
	if err != nil {
		if name == "" && group == "" { // the daemon's user has no entry: common in containers
			return Account{Home: "/", Name: strconv.Itoa(os.Geteuid())}, nil
		}
		return Account{}, fmt.Errorf("user %s: %w", name, err)
	}
	a := Account{Home: u.HomeDir, Name: u.Username}
	if name == "" && group == "" {
		return a, nil
	}
	gid := u.Gid
	if group != "" {
		g, err := findGroup(group)
		if err != nil {
			return Account{}, fmt.Errorf("group %s: %w", group, err)
		}
		gid = g.Gid
	}
	// A job with fewer groups than its user has would fail in ways that its admin
	// cannot reproduce by su(1).
	groups, err := u.GroupIds()
	if err != nil {
		return Account{}, fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	if a.Credential, err = credential(u.Uid, gid, groups); err != nil {
		return Account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	if isOwn(a.Credential) {
		a.Credential = nil
	}
	return a, nil
}

// findUser finds a user by name, else by number; "" is the daemon's own.
func findUser(name string) (*user.User, error) {
	if name == "" {
		return user.Current()
	}
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	return u, err
}

// findGroup finds a group by name, else by number.
func findGroup(name string) (*user.Group, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		g, err = user.LookupGroupId(name)
	}
	return g, err
}

// GroupID finds the id of a group by its name, else by its number.
func GroupID(name string) (uint32, error) {
	g, err := findGroup(name)
	if err != nil {
		return 0, err
	}
	return ParseID(g.Gid)
}

// credential reads the ids of a user, its main group and its other groups.
func credential(uid, gid string, groups []string) (*proc.Credential, error) {
	var c proc.Credential
	var err error
	if c.UID, err = ParseID(uid); err != nil {
		return nil, err
	}
	if c.GID, err = ParseID(gid); err != nil {
		return nil, err
	}
	for _, g := range groups {
		id, err := ParseID(g)
		if err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, id)
	}
	return &c, nil
}

// ParseID reads a user or group id of the system's database. What is no number
// from 0 to 2³²-2 is an error: taken for 0 it would be root, and setuid(2) takes
// 2³²-1, which is -1, for "do not change".
func ParseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == math.MaxUint32 {
		return 0, fmt.Errorf("id %q: not a number from 0 to %d", s, uint32(math.MaxUint32-1))
	}
	return uint32(n), nil
}

// isOwn reports whether a credential is the daemon's own, or as much of it as a
// daemon can give that may not change its groups.
func isOwn(c *proc.Credential) bool {
	if int(c.UID) != os.Geteuid() || int(c.GID) != os.Getegid() {
		return false
	}
	if !proc.MayChangeUser() {
		return true
	}
	own, err := os.Getgroups()
	if err != nil {
		return false
	}
	// The main group need not be in the list of the others, on either side.
	for _, g := range own {
		if !slices.Contains(c.Groups, uint32(g)) {
			return false
		}
	}
	return !slices.ContainsFunc(c.Groups, func(g uint32) bool { return g != c.GID && !slices.Contains(own, int(g)) })
}

// RunAsFault says why no job of this daemon can run as a user or group, "" when
// one can. An account that does not exist is no fault here: it may be made before
// the next job, whose start names it if not.
func RunAsFault(users Users, name, group string) string {
	a, err := users.Resolve(name, group)
	if err != nil || a.Credential == nil || proc.MayChangeUser() {
		return ""
	}
	return "the daemon runs as user " + strconv.Itoa(os.Geteuid()) + " and may not run a job as another user or group"
}
