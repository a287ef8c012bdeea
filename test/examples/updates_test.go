package examples

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// updates is the data of package-updates.
type updates struct {
	Manager  string   `json:"manager"`
	Age      *int     `json:"lists_age_seconds"`
	Count    int      `json:"count"`
	Security *int     `json:"security"`
	Updates  []update `json:"updates"`
}

type update struct {
	Name      string `json:"name"`
	Installed string `json:"installed"`
	Available string `json:"available"`
	Security  *bool  `json:"security"`
}

// recorded is the output of package managers of other machines, replayed by
// programs of their names in a directory that is the whole PATH.
type recorded struct {
	programs map[string]string // the shell text that stands in for each
	list     string            // a file of the manager's lists
	older    string            // another, changed a day before
	want     string
	security string
	manager  string
}

// managers are the recordings.
func managers() map[string]recorded {
	return map[string]recorded{
		"apt": {
			manager: "apt", list: "mirror_dists_stable_main_binary-amd64_Packages", security: "2",
			programs: map[string]string{"apt-get": `[ "$*" = "-s -q -o Debug::NoLocking=1 dist-upgrade" ] || exit 9
cat <<'.'
NOTE: This is only a simulation!
Inst linux-image-6.1.0-30-amd64 (6.1.124-1 Debian-Security:12/stable-security [amd64])
Inst linux-image-amd64 [6.1.115-1] (6.1.124-1 Debian-Security:12/stable-security [amd64])
Inst libc6:i386 [2.36-9+deb12u9] (2.36-9+deb12u10 Debian:12.10/stable [i386]) [libc6:amd64 on libc6:i386]
Inst curl [7.81.0-1ubuntu1.15] (7.81.0-1ubuntu1.16 Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security [amd64]) []
Remv old-thing [1.0]
Inst my-security [1] (2 Mine:1/main [all])
Inst odd [1"\] (2	é Mine:1/main [all])
Inst cut [1` + "\xe2\x82" + `] (2 Mine:1/main [all])
Conf curl (7.81.0-1ubuntu1.16 Ubuntu:22.04/jammy-updates [amd64])
.
`},
			want: `linux-image-amd64 6.1.115-1 6.1.124-1 true
libc6:i386 2.36-9+deb12u9 2.36-9+deb12u10 false
curl 7.81.0-1ubuntu1.15 7.81.0-1ubuntu1.16 true
my-security 1 2 false
odd 1"\ 2 false
cut 1� 2 false`,
		},
		"dnf": {
			manager: "dnf", list: "fedora-1/repodata/repomd.xml", security: "2",
			programs: map[string]string{
				"rpm": `printf 'curl.x86_64 8.2.1-3.fc39\nbind-libs.x86_64 32:9.18.20-1.fc39\nthe-package-with-the-long-name.noarch 1.0-1\nvim.x86_64 2:9.0-1\n'`,
				"dnf": `case "$*" in
"-q -C check-update") cat <<'.'

bind-libs.x86_64            32:9.18.21-1.fc39          updates
curl.x86_64                 8.2.1-4.fc39               updates
the-package-with-the-long-name.noarch
                            2.0-1                      updates
vim.x86_64                  2:9.1-1                    updates
Obsoleting Packages
newer.noarch                3-1                        updates
    older.noarch            2-1                        @updates
.
exit 100 ;;
"-q -C updateinfo list --security") cat <<'.'
FEDORA-2024-1 Important/Sec. curl-8.2.1-4.fc39.x86_64
FEDORA-2024-2 Moderate/Sec.  bind-libs-32:9.18.21-1.fc39.x86_64
.
;;
*) exit 9 ;;
esac`,
			},
			want: `bind-libs 32:9.18.20-1.fc39 32:9.18.21-1.fc39 true
curl 8.2.1-3.fc39 8.2.1-4.fc39 true
the-package-with-the-long-name 1.0-1 2.0-1 false
vim 2:9.0-1 2:9.1-1 false`,
		},
		"apk": {
			manager: "apk", list: "APKINDEX.1234.tar.gz", older: "APKINDEX.0.tar.gz", security: "unknown",
			programs: map[string]string{"apk": `[ "$*" = "--no-network version -l <" ] || exit 9
cat <<'.'
Installed:                                Available:
busybox-1.36.1-r5                       < 1.36.1-r7
py3-pip-pyc-23.3.1-r0                   < 23.3.2-r0
.
`},
			want: "busybox 1.36.1-r5 1.36.1-r7 unknown\npy3-pip-pyc 23.3.1-r0 23.3.2-r0 unknown",
		},
		"pkg": {
			manager: "pkg", list: "FreeBSD/db", security: "1",
			programs: map[string]string{"pkg": pkg(`echo curl-8.9.1; exit 1`)},
			want:     "curl 8.9.1 8.10.0 true\npy311-x-y 1.2,1 1.3_1,1 false",
		},
		"pkg without its list of vulnerabilities": {
			manager: "pkg", list: "repo-FreeBSD.sqlite", security: "unknown",
			programs: map[string]string{"pkg": pkg(`echo "pkg: vulnxml file /var/db/pkg/vuln.xml does not exist" >&2; exit 1`)},
			want:     "curl 8.9.1 8.10.0 unknown\npy311-x-y 1.2,1 1.3_1,1 unknown",
		},
		"nothing to do": {manager: "apk", list: "APKINDEX.1.tar.gz", security: "0", programs: map[string]string{"apk": ":"}},
	}
}

// pkg stands in for FreeBSD's, with this audit.
func pkg(audit string) string {
	return `case "$*" in
-N) ;;
"audit -q") ` + audit + ` ;;
"version -U -v -R -l <") cat <<'.'
curl-8.9.1                         <   needs updating (remote has 8.10.0)
py311-x-y-1.2,1                    <   needs updating (remote has 1.3_1,1)
.
;;
*) exit 9 ;;
esac`
}

// replay makes the PATH and the lists of a recording, the lists an hour old.
func replay(t *testing.T, r recorded, awk string) map[string]string {
	t.Helper()
	bin, lists := only(t, "cat", "date", "od", "sed"), t.TempDir()
	link(t, bin, "awk", awk)
	for name, text := range r.programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, age := range map[string]time.Duration{r.list: time.Hour, r.older: day} {
		if name == "" {
			continue
		}
		file := filepath.Join(lists, name)
		put(t, file, nil)
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(lists, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"PATH": bin, "LISTS": lists}
}

func TestRecordedManagers(t *testing.T) {
	for _, awk := range awks(t) {
		for name, record := range managers() {
			t.Run(filepath.Base(awk)+"/"+name, func(t *testing.T) { record.check(t, awk) })
		}
	}
}

// check runs the script on a recording, with this awk.
func (r recorded) check(t *testing.T, awk string) {
	data := answer[updates](t, read(t, "package-updates"), replay(t, r, awk))
	var got []string
	for _, u := range data.Updates {
		got = append(got, fmt.Sprintf("%s %s %s %s", u.Name, u.Installed, u.Available, show(u.Security)))
	}
	if diff := cmp.Diff(r.want, strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
	if data.Manager != r.manager || data.Count != len(got) || show(data.Security) != r.security {
		t.Errorf("%s, %d updates, %s for security", data.Manager, data.Count, show(data.Security))
	}
	if data.Age == nil || *data.Age < 3600 || *data.Age > 3700 {
		t.Errorf("the lists of an hour ago are %s seconds old", show(data.Age))
	}
}

func show[T any](v *T) string {
	if v == nil {
		return "unknown"
	}
	return fmt.Sprint(*v)
}

// TestNoAnswer: what would be no true answer is a failure, for that keeps the
// last good one.
func TestNoAnswer(t *testing.T) {
	e := read(t, "package-updates")
	refused(t, e, replay(t, recorded{}, "awk"), "none of apt-get, dnf, apk and pkg is on this machine")
	refused(t, e, replay(t, recorded{programs: map[string]string{"pkg": "exit 1"}}, "awk"), "none of apt-get, dnf, apk and pkg")
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range managers() {
			if name != "nothing to do" && !yield(name) {
				return
			}
		}
	}) {
		t.Run(name, func(t *testing.T) {
			r := managers()[name]
			bare := r
			bare.list, bare.older = "", ""
			refused(t, e, replay(t, bare, "awk"), "no package lists are here")
			for program := range r.programs {
				text := "echo broken: for a test >&2; exit 100"
				if program == "dnf" {
					text = "echo broken: for a test >&2; exit 1"
				}
				if program == "pkg" {
					text = `[ "$*" = -N ] || { echo broken: for a test >&2; exit 1; }`
				}
				broken := r
				broken.programs = map[string]string{"rpm": "exit 1", "dnf": r.programs["dnf"]}
				if program != "rpm" {
					broken.programs = map[string]string{program: text}
				}
				refused(t, e, replay(t, broken, "awk"), "")
			}
		})
	}
}
