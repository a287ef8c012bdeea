package launch

import (
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"testing"

	"dispatchd/daemon/internal/proc"
)

// What is no id is an error: it must never be taken for 0, which is root.
func TestParseID(t *testing.T) {
	for text, want := range map[string]uint32{"0": 0, "1": 1, "65534": 65534, "4294967294": 1<<32 - 2} {
		if got, err := ParseID(text); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-2", "-1", "+1", "4294967295", "4294967296", "99999999999999999999", "0x0", "1.0", " 0", "root", "0 "} {
		if got, err := ParseID(text); err == nil || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

// One bad id among good ones fails the whole credential.
func TestCredential(t *testing.T) {
	c, err := credential("7", "8", []string{"8", "9"})
	if err != nil || c.UID != 7 || c.GID != 8 || !slices.Equal(c.Groups, []uint32{8, 9}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range [][]string{{"-2", "8"}, {"7", "-2"}, {"7", "8", "8", "-2"}} {
		if c, err := credential(bad[0], bad[1], bad[2:]); c != nil || err == nil || !strings.Contains(err.Error(), `"-2"`) {
			t.Errorf("%q: %+v, %v", bad, c, err)
		}
	}
}

// Neither user nor group, or the daemon's own ones, need no credential.
func TestOwnAccount(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip("this user has no name")
	}
	a, err := SystemUsers{}.Resolve("", "")
	if err != nil || a.Credential != nil || a.Name != me.Username || a.Home != me.HomeDir {
		t.Errorf("the daemon's: %+v, %v", a, err)
	}
	if fault := RunAsFault(SystemUsers{}, "", ""); fault != "" {
		t.Errorf("may not run as itself: %s", fault)
	}
	for _, name := range []string{me.Username, me.Uid} {
		a, err := SystemUsers{}.Resolve(name, "")
		if err != nil || a.Name != me.Username {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if a.Credential != nil && int(a.Credential.UID) != os.Geteuid() {
			t.Errorf("%s: credential %+v", name, a.Credential)
		}
	}
}

func TestUnknownAccounts(t *testing.T) {
	for _, c := range []struct{ user, group, says string }{
		{"nobody-at-all", "", "user nobody-at-all"},
		{"0x0", "", "user 0x0"},
		{"4294967295", "", "user 4294967295"},
		{"", "no-such-group", "group no-such-group"},
		{"root", "4294967295", "group 4294967295"},
	} {
		a, err := SystemUsers{}.Resolve(c.user, c.group)
		if err == nil || !strings.Contains(err.Error(), c.says) || a != (Account{}) {
			t.Errorf("%s:%s: %+v, %v", c.user, c.group, a, err)
		}
		if fault := RunAsFault(SystemUsers{}, c.user, c.group); fault != "" {
			t.Errorf("%s:%s: told at load: %s", c.user, c.group, fault)
		}
	}
}

// Another user's account has its ids and its groups. A daemon without the right
// to change user says so.
func TestOtherAccount(t *testing.T) {
	other := &proc.Credential{UID: uint32(os.Geteuid()) + 1, GID: uint32(os.Getegid())}
	if isOwn(other) {
		t.Error("another user is the daemon's")
	}
	if isOwn(&proc.Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()) + 1}) {
		t.Error("another group is the daemon's")
	}
	fault := RunAsFault(table{"www:": {Credential: other}}, "www", "")
	if may := proc.MayChangeUser(); may != (fault == "") {
		t.Errorf("it may change user: %t, fault %q", may, fault)
	}
	nobody, err := user.Lookup("nobody")
	if err != nil || nobody.Uid == strconv.Itoa(os.Geteuid()) {
		t.Skip("there is no other user nobody")
	}
	a, err := SystemUsers{}.Resolve("nobody", "0")
	if err != nil || a.Credential == nil || a.Name != "nobody" || a.Home != nobody.HomeDir {
		t.Fatalf("%+v, %v", a, err)
	}
	if c := a.Credential; strconv.Itoa(int(c.UID)) != nobody.Uid || c.GID != 0 || len(c.Groups) == 0 {
		t.Errorf("%+v", c)
	}
}

// Where the daemon may change groups, one that it has and the user has not counts,
// and the other way round.
func TestOwnGroups(t *testing.T) {
	if !proc.MayChangeUser() {
		t.Skip("this process may not change groups: its own are all it can give")
	}
	own, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	c := &proc.Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	for _, g := range own {
		c.Groups = append(c.Groups, uint32(g))
	}
	if !isOwn(c) {
		t.Errorf("%+v is this process's own", c)
	}
	c.Groups = append(c.Groups, 4_000_000_000)
	if isOwn(c) {
		t.Error("a group more is still its own")
	}
}
