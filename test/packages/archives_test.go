//go:build packages

package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // apk's own checksum
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// member is one member of a tar.
type member struct {
	*tar.Header
	data []byte
}

// members reads a tar.
func members(t *testing.T, r io.Reader) []member {
	t.Helper()
	var list []member
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && len(list) > 0 {
			return list // apk's first part has no end of its own
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, member{h, data})
	}
}

// apk reads an Alpine package: two gzipped tars in a row, of which the first
// knows the second's checksum, and each file of that its own.
func apk(t *testing.T, path string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var parts [][]member
	var ends []int
	left := bytes.NewReader(raw)
	for left.Len() > 0 {
		z, err := gzip.NewReader(left)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, members(t, bytes.NewReader(text)))
		ends = append(ends, len(raw)-left.Len())
	}
	if len(parts) != 2 {
		t.Fatalf("%d parts, want 2", len(parts))
	}
	control := map[string]string{}
	for _, m := range parts[0] {
		control[m.Name] = string(m.data)
	}
	for _, line := range []string{"pkgname = dispatchd", "pkgver = 1.2.3_rc4-r0", fmt.Sprintf("datahash = %x", sha256.Sum256(raw[ends[0]:]))} {
		if !slices.Contains(strings.Split(control[".PKGINFO"], "\n"), line) {
			t.Errorf("no %q in\n%s", line, control[".PKGINFO"])
		}
	}
	for _, script := range []string{".pre-install", ".post-install", ".pre-upgrade", ".post-upgrade", ".pre-deinstall"} {
		if !strings.HasPrefix(control[script], "#!/bin/sh\n") {
			t.Errorf("%s: %q", script, control[script])
		}
	}
	got := map[string]os.FileMode{}
	for _, m := range parts[1] {
		got["/"+m.Name] = m.FileInfo().Mode().Perm()
		sum := sha1.Sum(m.data) //nolint:gosec // apk's own checksum
		if m.Typeflag == tar.TypeReg && m.PAXRecords["APK-TOOLS.checksum.SHA1"] != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: its checksum is wrong", m.Name)
		}
		if m.Uname != "root" || m.Gname != "root" {
			t.Errorf("%s belongs to %s:%s", m.Name, m.Uname, m.Gname)
		}
	}
	list := and(services(linux("site-functions").common()), 0o644, "/etc/dispatchd/dispatchd.toml", "/usr/share/doc/dispatchd/LICENSE", "/usr/share/doc/dispatchd/CHANGELOG.md")
	wanted(t, got, and(list, 0o755, "/etc/init.d/dispatchd"))
}

// manifest is what is looked at of that of a FreeBSD package.
type manifest struct {
	Name, Version, ABI, Prefix, Origin, Comment, Desc, Maintainer, WWW string

	FlatSize    int64
	Files       map[string]string
	Directories map[string]string
	Scripts     map[string]string
}

// pkg reads a FreeBSD package as pkg(8) does.
func pkg(t *testing.T, path string) {
	need(t, "zstd")
	cmd := exec.Command("zstd", "-dcq", path)
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	list := members(t, bytes.NewReader(text))
	if len(list) < 2 || list[0].Name != "+COMPACT_MANIFEST" || list[1].Name != "+MANIFEST" {
		t.Fatal("it does not begin with the manifests")
	}
	var compact, whole manifest
	for i, m := range []*manifest{&compact, &whole} {
		if err := json.Unmarshal(list[i].data, m); err != nil {
			t.Fatal(err)
		}
	}
	if len(compact.Files)+len(compact.Directories)+len(compact.Scripts) > 0 || compact.Version != whole.Version {
		t.Errorf("the compact manifest has more than it should: %+v", compact)
	}
	for what, text := range map[string]string{
		"name": whole.Name, "origin": whole.Origin, "comment": whole.Comment, "desc": whole.Desc, "maintainer": whole.Maintainer, "www": whole.WWW,
	} {
		if text == "" {
			t.Errorf("pkg refuses a package without %s", what)
		}
	}
	if whole.Version != "1.2.3.rc4" || whole.Prefix != "/usr/local" || !strings.HasPrefix(whole.ABI, "FreeBSD:*:") {
		t.Errorf("version %s, prefix %s, abi %s", whole.Version, whole.Prefix, whole.ABI)
	}
	files(t, list[2:], whole)
	scripts(t, whole.Scripts)
}

// files holds the members of a FreeBSD package against its manifest.
func files(t *testing.T, list []member, m manifest) {
	t.Helper()
	got, size := map[string]os.FileMode{}, int64(0)
	for _, f := range list {
		got[f.Name] = f.FileInfo().Mode().Perm()
		if f.Uname != "root" || f.Gname != "wheel" {
			t.Errorf("%s belongs to %s:%s", f.Name, f.Uname, f.Gname)
		}
		if f.Typeflag == tar.TypeDir {
			if m.Directories[strings.TrimSuffix(f.Name, "/")] == "" {
				t.Errorf("directory %s is not in the manifest", f.Name)
			}
			continue
		}
		size += f.Size
		if want := fmt.Sprintf("1$%x", sha256.Sum256(f.data)); m.Files[f.Name] != want {
			t.Errorf("%s: the manifest says %q, it is %q", f.Name, m.Files[f.Name], want)
		}
	}
	if len(m.Files)+len(m.Directories) != len(list) || size != m.FlatSize {
		t.Errorf("%d files, %d directories and %d bytes in the manifest; %d members with %d bytes", len(m.Files), len(m.Directories), m.FlatSize, len(list), size)
	}
	want := and(freebsd().common(), 0o644, "/usr/local/etc/dispatchd/dispatchd.toml.sample", "/usr/local/etc/newsyslog.conf.d/dispatchd.conf.sample", "/usr/local/etc/syslog.d/dispatchd.conf.sample",
		"/usr/local/share/doc/dispatchd/LICENSE", "/usr/local/share/doc/dispatchd/CHANGELOG.md")
	wanted(t, got, and(want, 0o555, "/usr/local/etc/rc.d/dispatchd"))
}

// scripts wants those of a FreeBSD package to come out as they were written.
func scripts(t *testing.T, list map[string]string) {
	t.Helper()
	names := []string{"post-deinstall", "post-install", "pre-deinstall", "pre-install"}
	if got := slices.Sorted(maps.Keys(list)); !slices.Equal(got, names) {
		t.Errorf("scripts %q, want %q", got, names)
	}
	for name, text := range list {
		want, err := os.ReadFile("../../packaging/freebsd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		// pkg takes every %xx for a byte.
		var b strings.Builder
		for i := 0; i < len(text); i++ {
			if text[i] == '%' {
				code, err := hex.DecodeString(text[i+1 : i+3])
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				b.Write(code)
				i += 2
				continue
			}
			b.WriteByte(text[i])
		}
		if b.String() != string(want) {
			t.Errorf("script %s comes out as\n%s", name, b.String())
		}
	}
}
