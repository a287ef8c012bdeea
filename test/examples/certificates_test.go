package examples

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// certificates is the data of certificates.
type certificates struct {
	Checked    int           `json:"checked"`
	Expiring   []certificate `json:"expiring"`
	Unreadable []unreadable  `json:"unreadable"`
}

type certificate struct {
	File     string    `json:"file"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after"`
	DaysLeft int       `json:"days_left"`
	Expired  bool      `json:"expired"`
}

type unreadable struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

const (
	day      = 24 * time.Hour
	foreign  = "no certificate that openssl can read"
	noAccess = "no permission"
)

// issue makes a certificate, DER, that ends then.
func issue(t *testing.T, subject pkix.Name, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject,
		NotBefore: end.Add(-400 * day), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func armor(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// put writes a file with the directories above it.
func put(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// setUp gives the script, and a directory that is read as bytes name it.
func setUp(t *testing.T) (example, string) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not here")
	}
	return read(t, "certificates"), t.TempDir()
}

func TestDaysLeft(t *testing.T) {
	e, dir := setUp(t)
	// Half a day away from the border, for time goes on while this runs.
	now := time.Now().UTC().Truncate(time.Second)
	ends := map[string]time.Time{
		"long-gone": now.Add(-800*day - day/2), "gone": now.Add(-time.Hour), "today": now.Add(day / 2),
		"soon": now.Add(29*day + day/2), "fine": now.Add(30*day + day/2),
		"leap":  time.Date(2028, 2, 29, 23, 59, 59, 0, time.UTC),
		"march": time.Date(2032, 3, 1, 0, 0, 0, 0, time.UTC), "far": time.Date(2999, 12, 31, 1, 2, 3, 0, time.UTC),
	}
	days := map[string]int{"long-gone": -801, "gone": -1, "today": 0, "soon": 29, "fine": 30}
	for name, end := range ends {
		put(t, filepath.Join(dir, name+".pem"), armor(issue(t, pkix.Name{CommonName: name}, end)))
	}
	check := func(warn string, names ...string) {
		t.Helper()
		data := answer[certificates](t, e, map[string]string{"CERT_DIRS": dir, "WARN_DAYS": warn})
		if data.Checked != len(ends) || len(data.Unreadable) != 0 {
			t.Errorf("checked %d, unreadable %v", data.Checked, data.Unreadable)
		}
		var got []string
		for _, c := range data.Expiring {
			name := strings.TrimPrefix(c.Subject, "CN=")
			got = append(got, name)
			want, known := days[name]
			if !known {
				want = int(time.Until(ends[name]) / day)
			}
			if !c.NotAfter.Equal(ends[name]) || c.DaysLeft != want || c.Expired != (want < 0) || c.File != filepath.Join(dir, name+".pem") {
				t.Errorf("%+v, want %d days until %v", c, want, ends[name])
			}
		}
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("within %s days: %s", warn, diff)
		}
	}
	check("30", "long-gone", "gone", "today", "soon")
	check("0", "long-gone", "gone")
	// All of them, the first to end first.
	all := slices.SortedFunc(func(yield func(string) bool) {
		for name := range ends {
			if !yield(name) {
				return
			}
		}
	}, func(a, b string) int { return ends[a].Compare(ends[b]) })
	check("99999", slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "far" })...)
}

// TestHostileNames: what others chose comes out as it was, in valid JSON.
func TestHostileNames(t *testing.T) {
	e, dir := setUp(t)
	end := time.Now().Add(-day)
	names := map[string]string{ // of the file: the subject, and how openssl writes it
		"plain.pem":                       "plain",
		"with space \"quote\" \\n.crt":    `quote " and \ and , and + and ; <x>`,
		"line\nbreak\ttab\x01\x7f.pem":    "line\nbreak\tand \x01",
		"ünï-\u202e日本-😀.cer":              "Zürich 日本 😀",
		"-n.pem":                          "#-n",
		"{}.pem":                          " spaces ",
		"*.pem":                           "$(touch /tmp/x) `id` %s %d",
		"'single'.pem":                    "'",
		"c\nu\n\"}],\"checked\":9999.pem": `"}],"checked":9999`,
	}
	written := map[string]string{
		names["with space \"quote\" \\n.crt"]: `quote \" and \\ and \, and \+ and \; \<x\>`,
		"line\nbreak\tand \x01":               `line\0Abreak\09and \01`,
		"#-n":                                 `\#-n`,
		" spaces ":                            `\ spaces\ `,
		`"}],"checked":9999`:                  `\"}]\,\"checked\":9999`,
	}
	want := map[string]string{}
	for name, cn := range names {
		put(t, filepath.Join(dir, name), armor(issue(t, pkix.Name{CommonName: cn}, end)))
		if w, ok := written[cn]; ok {
			cn = w
		}
		want[filepath.Join(dir, name)] = "CN=" + cn
	}
	// No UTF-8: alone, cut off, too long, a surrogate, beyond the last character.
	for name, shown := range map[string]string{
		"a\xffb.pem": "a\ufffdb.pem", "cut\xe2\x82.pem": "cut\ufffd.pem", "long\xc0\xaf.pem": "long\ufffd\ufffd.pem",
		"slash\xe0\x80\xaf.pem": "slash\ufffd.pem", "half\xed\xa0\x80.pem": "half\ufffd.pem", "over\xf4\x90\x80\x80.pem": "over\ufffd.pem",
	} {
		put(t, filepath.Join(dir, name), armor(issue(t, pkix.Name{CommonName: "x"}, end)))
		want[filepath.Join(dir, shown)] = "CN=x"
	}
	for _, awk := range awks(t) {
		t.Run(filepath.Base(awk), func(t *testing.T) {
			data := answer[certificates](t, e, map[string]string{"CERT_DIRS": dir, "PATH": first(t, awk)})
			got := map[string]string{}
			for _, c := range data.Expiring {
				got[c.File] = c.Subject
			}
			if diff := cmp.Diff(want, got); diff != "" || data.Checked != len(want) {
				t.Errorf("checked %d: %s", data.Checked, diff)
			}
		})
	}
}

// TestKindsOfFiles: certificates in any wrapping are read, keys are left alone,
// and what cannot be read is told.
func TestKindsOfFiles(t *testing.T) {
	e, dir := setUp(t)
	cert := issue(t, pkix.Name{CommonName: "x"}, time.Now().Add(day))
	later := armor(issue(t, pkix.Name{CommonName: "later"}, time.Now().Add(900*day)))
	text := armor(cert)
	key := []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	files := map[string][]byte{
		"plain.pem": text, "chain.pem": slices.Concat(text, later), "later-first.pem": slices.Concat(later, text),
		"combined.pem": slices.Concat(key, text), "talk.crt": slices.Concat([]byte("subject=x\n\n"), text),
		"der.cer": cert, "der.crt": cert, "crlf.cert": []byte(strings.ReplaceAll(string(text), "\n", "\r\n")),
		"trusted/deep/er.pem": []byte(strings.ReplaceAll(string(text), " CERTIFICATE", " TRUSTED CERTIFICATE")),
		// Not asked for, or no certificate and no claim to be one.
		"notes.txt": text, "privkey.pem": text, "privkey1.pem": text, "a-key.pem": text, "with_key.pem": text, "a.key": text, "key.pem": text,
		"params.pem":  []byte("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"),
		"request.pem": []byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
		"empty.pem":   nil, "noise.pem": {0, 1, 2, 255}, "only-the-key.pem": key,
		// They claim to be certificates.
		"garbage.crt": {0, 1, 2, 255, '\n'}, "empty.crt": nil, "cut.pem": text[:len(text)/2],
		"nonsense.pem":       []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		"ssl/certs/mine.pem": text, "ssl/certs/ca-certificates.crt": text, "ssl/cert.pem": text,
		"archive/1.dat": text,
	}
	for name, data := range files {
		put(t, filepath.Join(dir, name), data)
	}
	elsewhere := t.TempDir()
	put(t, filepath.Join(elsewhere, "in.pem"), text)
	for name, to := range map[string]string{
		"live.pem": "archive/1.dat", "linked": elsewhere, "gone.pem": "archive/2.dat", "loop": ".",
		"ssl/certs/authority.pem": "../../archive/1.dat", "ssl/certs/lost.pem": "nowhere",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	data := answer[certificates](t, e, map[string]string{"CERT_DIRS": dir + "/missing:" + dir + "/:"})
	var got []string
	for _, c := range data.Expiring {
		got = append(got, strings.TrimPrefix(c.File, dir+"/"))
	}
	slices.Sort(got)
	want := []string{"chain.pem", "crlf.cert", "der.cer", "der.crt", "live.pem", "plain.pem", "ssl/certs/mine.pem", "talk.crt", "combined.pem"}
	// Its text is a plain certificate; openssl reads what is called trusted.
	want = append(want, "trusted/deep/er.pem", "linked/in.pem")
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("expiring:", diff)
	}
	if data.Checked != len(want)+1 {
		t.Errorf("checked %d, want %d", data.Checked, len(want)+1)
	}
	bad := map[string]string{}
	for _, u := range data.Unreadable {
		bad[strings.TrimPrefix(u.File, dir+"/")] = u.Reason
	}
	if diff := cmp.Diff(map[string]string{
		"garbage.crt": foreign, "empty.crt": foreign, "cut.pem": foreign, "nonsense.pem": foreign, "gone.pem": "broken link",
	}, bad); diff != "" {
		t.Error("unreadable:", diff)
	}
}

// TestWithoutPermission runs as a user who may not read everything.
func TestWithoutPermission(t *testing.T) {
	e, _ := setUp(t)
	dir, err := os.MkdirTemp("/tmp", "certs") // a path that all may walk
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cert := armor(issue(t, pkix.Name{CommonName: "x"}, time.Now().Add(day)))
	for _, name := range []string{"open.pem", "shut.pem", "shut/in.pem", "top/in.pem", "cut\xe2\x82/in.pem"} {
		put(t, filepath.Join(dir, name), cert)
	}
	for name, mode := range map[string]os.FileMode{"": 0o755, "shut.pem": 0, "shut": 0, "top": 0, "cut\xe2\x82": 0} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // else what is inside could not be removed
		for _, name := range []string{"shut", "top", "cut\xe2\x82"} {
			_ = os.Chmod(filepath.Join(dir, name), 0o700)
		}
	})
	if os.Getuid() == 0 {
		// Root reads all: the script changes the user itself, before anything else.
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			t.Skip("root reads everything, and setpriv is not here")
		}
		e.Script = "exec " + setpriv + " --reuid 65534 --regid 65534 --clear-groups sh -euc " + quoted(e.Script)
	}
	data := answer[certificates](t, e, map[string]string{"CERT_DIRS": dir + ":" + dir + "/top"})
	want := []unreadable{
		{dir + "/cut\ufffd", noAccess}, {dir + "/shut", noAccess}, {dir + "/shut.pem", noAccess}, {dir + "/top", noAccess}, {dir + "/top", noAccess},
	}
	slices.SortFunc(data.Unreadable, func(a, b unreadable) int { return strings.Compare(a.File, b.File) })
	if diff := cmp.Diff(want, data.Unreadable); diff != "" || data.Checked != 1 {
		t.Errorf("checked %d: %s", data.Checked, diff)
	}
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// TestNoSearch: what would be no true answer is a failure.
func TestNoSearch(t *testing.T) {
	e, dir := setUp(t)
	put(t, filepath.Join(dir, "a.pem"), armor(issue(t, pkix.Name{CommonName: "x"}, time.Now().Add(day))))
	for _, days := range []string{"", "x", "-1", "1.5", "1000000"} {
		refused(t, e, map[string]string{"CERT_DIRS": dir, "WARN_DAYS": days}, "WARN_DAYS is "+strconv.Quote(days))
	}
	refused(t, e, map[string]string{"PATH": only(t, "sh", "sed", "find", "od", "awk", "date", "cat")}, "openssl is not on this machine")
	for _, missing := range []string{"find", "sh"} {
		tools := slices.DeleteFunc([]string{"sh", "sed", "find", "od", "awk", "date", "cat", "openssl"}, func(s string) bool { return s == missing })
		refused(t, e, map[string]string{"CERT_DIRS": dir, "PATH": only(t, tools...)}, "the search broke off")
	}
	data := answer[certificates](t, e, map[string]string{"CERT_DIRS": dir, "PATH": only(t, "sh", "find", "od", "awk", "date", "cat", "openssl")})
	if diff := cmp.Diff([]unreadable{{dir + "/a.pem", "reading it broke off"}}, data.Unreadable); diff != "" {
		t.Error("without sed:", diff)
	}
	data = answer[certificates](t, e, map[string]string{"CERT_DIRS": ""})
	if data.Checked != 0 || data.Expiring == nil || data.Unreadable == nil {
		t.Errorf("of no directory: %+v", data)
	}
}

// TestCertificatesHere runs the file as it is on this machine.
func TestCertificatesHere(t *testing.T) {
	e, _ := setUp(t)
	data := answer[certificates](t, e, nil)
	for _, c := range data.Expiring {
		if _, err := os.Lstat(c.File); err != nil || c.DaysLeft >= 30 || c.Subject == "" && c.NotAfter.IsZero() {
			t.Errorf("%+v: %v", c, err)
		}
	}
	t.Logf("%d checked, %d expire, %d not read", data.Checked, len(data.Expiring), len(data.Unreadable))
}
