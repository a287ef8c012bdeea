package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// manifest is what pkg(8) reads of a package. The compact one, for catalogues,
// has neither files nor scripts.
type manifest struct {
	Name         string            `json:"name"`
	Origin       string            `json:"origin"`
	Version      string            `json:"version"`
	Comment      string            `json:"comment"`
	Maintainer   string            `json:"maintainer"`
	WWW          string            `json:"www"`
	ABI          string            `json:"abi"`
	Arch         string            `json:"arch"`
	Prefix       string            `json:"prefix"`
	FlatSize     int64             `json:"flatsize"`
	LicenseLogic string            `json:"licenselogic"`
	Licenses     []string          `json:"licenses"`
	Desc         string            `json:"desc"`
	Categories   []string          `json:"categories"`
	Groups       []string          `json:"groups"`
	Files        map[string]string `json:"files,omitempty"`
	Directories  map[string]string `json:"directories,omitempty"`
	Scripts      map[string]string `json:"scripts,omitempty"`
	Messages     []message         `json:"messages"`
}

// message is shown after an installation or a removal.
type message struct {
	Message string `json:"message"`
	Type    string `json:"type,omitempty"`
}

// freebsd writes a package as pkg(8) wants it: a compressed tar that begins with
// the two manifests, and whose members have absolute names. It gives its path.
func (b *builder) freebsd(t target, entries []entry) (string, error) {
	m, err := b.manifest(t, entries)
	if err != nil {
		return "", err
	}
	compact := m
	compact.Files, compact.Directories, compact.Scripts = nil, nil, nil
	var packed bytes.Buffer
	// More than one worker would cut the data by their number.
	z, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", err
	}
	w := &archive{Writer: tar.NewWriter(z), when: b.release}
	w.manifest("+COMPACT_MANIFEST", compact)
	w.manifest("+MANIFEST", m)
	// The folders come last: their mode may forbid what is to be put there.
	for _, e := range slices.Concat(only(entries, false), only(entries, true)) {
		w.entry(e)
	}
	for _, end := range []func() error{w.Close, z.Close} {
		if err := end(); err != nil && w.err == nil {
			w.err = err
		}
	}
	if w.err != nil {
		return "", w.err
	}
	path := filepath.Join(b.out, fmt.Sprintf("dispatchd-%s-freebsd-%s.pkg", m.Version, t.arch))
	return path, os.WriteFile(path, packed.Bytes(), 0o644)
}

// only gives the folders, or all but those.
func only(entries []entry, folders bool) []entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return (e.kind == folder) != folders })
}

// manifest describes the package. The programs are static and the system calls
// of old releases stay: it is for every FreeBSD of the architecture.
func (b *builder) manifest(t target, entries []entry) (manifest, error) {
	machine := map[string][2]string{"amd64": {"amd64", "x86:64"}, "arm64": {"aarch64", "aarch64:64"}}[t.arch]
	m := manifest{
		Name: "dispatchd", Origin: "sysutils/dispatchd", Version: b.release.in(t.format),
		Comment: summary, Maintainer: "maintainers@dispatchd.invalid", WWW: "UNKNOWN",
		ABI: "FreeBSD:*:" + machine[0], Arch: "freebsd:*:" + machine[1], Prefix: "/usr/local",
		LicenseLogic: "single", Licenses: []string{"APACHE20"}, Desc: encoded(description),
		Categories: []string{"sysutils"}, Groups: []string{"dispatchd"},
		Files: map[string]string{}, Directories: map[string]string{}, Scripts: map[string]string{},
	}
	for _, e := range entries {
		if e.kind == folder {
			m.Directories[encoded(e.to)] = "y"
			continue
		}
		data, err := os.ReadFile(e.from)
		if err != nil {
			return m, err
		}
		m.FlatSize += int64(len(data))
		m.Files[encoded(e.to)] = fmt.Sprintf("1$%x", sha256.Sum256(data)) // 1 is SHA-256 in hex
	}
	for _, name := range []string{"pre-install", "post-install", "pre-deinstall", "post-deinstall"} {
		text, err := os.ReadFile(filepath.Join(b.root, "packaging", "freebsd", name))
		if err != nil {
			return m, err
		}
		m.Scripts[name] = encoded(string(text))
	}
	text, err := os.ReadFile(filepath.Join(b.root, "packaging", "freebsd", "message"))
	m.Messages = []message{{Message: string(text), Type: "install"}}
	return m, err
}

// encoded writes a text as pkg decodes it: a percent sign is always the begin
// of a byte in hex.
func encoded(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c == '%' || c >= utf8.RuneSelf {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// archive writes members, and keeps the first error.
type archive struct {
	*tar.Writer
	when published
	err  error
}

// manifest writes one of the manifests.
func (w *archive) manifest(name string, m manifest) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // scripts stay readable
	if err := enc.Encode(m); err != nil && w.err == nil {
		w.err = err
	}
	w.member(&tar.Header{Name: name, Mode: 0o644}, bytes.TrimSpace(text.Bytes()))
}

// entry writes a file or a folder.
func (w *archive) entry(e entry) {
	if e.kind == folder {
		w.member(&tar.Header{Name: e.to + "/", Mode: int64(e.mode), Typeflag: tar.TypeDir}, nil)
		return
	}
	data, err := os.ReadFile(e.from)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.member(&tar.Header{Name: e.to, Mode: int64(e.mode)}, data)
}

// member writes one member.
func (w *archive) member(h *tar.Header, data []byte) {
	h.Uname, h.Gname, h.ModTime, h.Size, h.Format = "root", "wheel", w.when.time, int64(len(data)), tar.FormatPAX
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if w.err != nil {
		return
	}
	if w.err = w.WriteHeader(h); w.err != nil {
		return
	}
	_, w.err = w.Write(data)
}
