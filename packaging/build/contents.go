package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kind is what a package manager is to know of a file.
type kind int

// The kinds of entries.
const (
	plain  kind = iota
	config      // the admin's once it is installed: an edited one is kept
	folder      // a directory that is there although it is empty
)

// entry is one file of a package.
type entry struct {
	from string // on this machine, "" for a folder
	to   string
	mode fs.FileMode
	kind kind
}

// places are where a system wants things.
type places struct {
	sbin, bin, libexec, etc, lib, share, doc, examples, man, bash, zsh, fish string
}

// placesOf gives them for a package format.
func placesOf(format string) places {
	p := places{
		sbin: "/usr/sbin", bin: "/usr/bin", libexec: "/usr/libexec/dispatchd", etc: "/etc/dispatchd", lib: "/usr/lib/dispatchd", share: "/usr/share/dispatchd",
		doc: "/usr/share/doc/dispatchd", examples: "/usr/share/doc/dispatchd/examples", man: "/usr/share/man",
		bash: "/usr/share/bash-completion/completions", zsh: "/usr/share/zsh/site-functions", fish: "/usr/share/fish/vendor_completions.d",
	}
	switch format {
	case "deb":
		p.zsh = "/usr/share/zsh/vendor-completions"
	case "freebsd":
		p = places{
			sbin: "/usr/local/sbin", bin: "/usr/local/bin", libexec: "/usr/local/libexec/dispatchd", etc: "/usr/local/etc/dispatchd", lib: "/usr/local/share/dispatchd", share: "/usr/local/share/dispatchd",
			doc: "/usr/local/share/doc/dispatchd", examples: "/usr/local/share/examples/dispatchd", man: "/usr/local/share/man",
			bash: "/usr/local/share/bash-completion/completions", zsh: "/usr/local/share/zsh/site-functions", fish: "/usr/local/share/fish/vendor_completions.d",
		}
	}
	return p
}

// contents lists what is in a package, in the order of paths.
func (b *builder) contents(t target, programs string) ([]entry, error) {
	p, l := placesOf(t.format), &list{builder: b, folder: filepath.Join(b.work, "package-"+t.String())}
	if err := os.Mkdir(l.folder, 0o755); err != nil {
		return nil, err
	}
	l.add(filepath.Join(programs, "dispatchd"), p.sbin+"/dispatchd", 0o755)
	l.add(filepath.Join(programs, "dispatchctl"), p.bin+"/dispatchctl", 0o755)
	l.add(filepath.Join(programs, "dispatch-notify"), p.bin+"/dispatch-notify", 0o755)
	l.add(filepath.Join(programs, "dispatchd-shim"), p.libexec+"/dispatchd-shim", 0o755)
	l.add(b.made["completion.bash"], p.bash+"/dispatchctl", 0o644)
	l.add(b.made["completion.zsh"], p.zsh+"/_dispatchctl", 0o644)
	l.add(b.made["completion.fish"], p.fish+"/dispatchctl.fish", 0o644)
	for _, file := range []string{"dispatcher", "dispatchd"} {
		l.add(b.made["schema."+file], p.share+"/"+file+".schema.json", 0o644)
	}
	l.zipped(b.made["notices"], p.doc+"/third-party-notices.gz")
	l.pages(p.man)
	l.examples(p)
	l.php(p.lib + "/php")
	l.empty(p.lib+"/dispatchers.d", 0o755)
	l.admins("packaging/config/dispatchers.d.README", p.etc+"/dispatchers.d/README")
	if t.format != "freebsd" {
		l.admins("packaging/config/dispatchd.toml", p.etc+"/dispatchd.toml")
		l.supervised(p.examples)
	}
	switch t.format {
	case "deb":
		l.systemd(p.examples)
		l.debian(p.doc)
	case "rpm":
		l.systemd(p.examples)
		l.legal(p.doc)
	case "apk":
		l.legal(p.doc)
		l.add(l.path("init/openrc/dispatchd"), "/etc/init.d/dispatchd", 0o755)
	case "freebsd":
		// pkg has no conffiles of its own that keep an edited file in every
		// case: as ports do, a sample is installed, and copied by the scripts.
		l.from("packaging/config/dispatchd.toml", p.etc+"/dispatchd.toml.sample")
		l.legal(p.doc)
		l.add(l.path("init/rc.d/dispatchd"), "/usr/local/etc/rc.d/dispatchd", 0o555)
		l.from("init/syslog.d/dispatchd.conf", "/usr/local/etc/syslog.d/dispatchd.conf.sample")
		l.from("init/newsyslog/dispatchd.conf", "/usr/local/etc/newsyslog.conf.d/dispatchd.conf.sample")
	}
	slices.SortFunc(l.entries, func(x, y entry) int { return strings.Compare(x.to, y.to) })
	return l.entries, l.err
}

// list collects entries, and the first thing that went wrong.
type list struct {
	*builder
	folder  string // for files made for this package
	entries []entry
	err     error
}

// path is a file of the source.
func (l *list) path(name string) string { return filepath.Join(l.root, filepath.FromSlash(name)) }

// add puts a file of this machine into the package.
func (l *list) add(from, to string, mode fs.FileMode) {
	fi, err := os.Stat(from)
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s: no regular file", from)
	}
	if err != nil && l.err == nil {
		l.err = err
	}
	l.entries = append(l.entries, entry{from: from, to: to, mode: mode})
}

// from puts a file of the source into the package.
func (l *list) from(name, to string) { l.add(l.path(name), to, 0o644) }

// empty puts an empty directory into the package.
func (l *list) empty(to string, mode fs.FileMode) {
	l.entries = append(l.entries, entry{to: to, mode: mode, kind: folder})
}

// admins puts a file of the source into the package that is the admin's then.
func (l *list) admins(name, to string) {
	l.from(name, to)
	l.entries[len(l.entries)-1].kind = config
}

// zipped puts a file in, compressed without time or name.
func (l *list) zipped(from, to string) {
	text, err := os.ReadFile(from)
	if err == nil {
		l.gzip(text, to)
	} else if l.err == nil {
		l.err = err
	}
}

// gzip puts a text in, compressed without time or name.
func (l *list) gzip(text []byte, to string) {
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err == nil {
		_, _ = z.Write(text) // to memory
		err = z.Close()
	}
	if err != nil && l.err == nil {
		l.err = err
	}
	l.write(zipped.Bytes(), to)
}

// write puts a text in.
func (l *list) write(text []byte, to string) {
	from := filepath.Join(l.folder, strings.ReplaceAll(strings.TrimPrefix(to, "/"), "/", "-"))
	if err := os.WriteFile(from, text, 0o644); err != nil && l.err == nil {
		l.err = err
	}
	l.add(from, to, 0o644)
}

// pages puts the man pages in.
func (l *list) pages(to string) {
	names, err := filepath.Glob(l.path("packaging/man/*.[1-9]"))
	if (err != nil || len(names) == 0) && l.err == nil {
		l.err = fmt.Errorf("packaging/man: no pages")
	}
	for _, name := range names {
		base := filepath.Base(name)
		l.zipped(name, to+"/man"+base[len(base)-1:]+"/"+base+".gz")
	}
}

// examples puts the example dispatchers in. Their first line is for editors, and
// names the schema where this package has it.
func (l *list) examples(p places) {
	l.tree("packaging/examples", p.examples, func(text []byte) []byte {
		return bytes.ReplaceAll(text, []byte("file:///usr/share/dispatchd/"), []byte("file://"+p.share+"/"))
	})
}

// php puts in the bridge that runs a php_class, and the client for PHP.
func (l *list) php(to string) {
	for _, name := range []string{"Locks.php", "bridge.php", "classes.php", "describe.php", "import.php", "lazy/RESTAPI/autoloader.inc"} {
		l.from("packaging/pfsense/"+name, to+"/"+name)
	}
	l.from("packaging/php/Dispatchd.php", to+"/Dispatchd.php")
}

// supervised puts in what runit and s6 want, for who has one of them.
func (l *list) supervised(examples string) {
	for _, name := range []string{"runit", "s6"} {
		l.tree("init/"+name, examples+"/"+name, bytes.Clone)
	}
}

// tree puts the files of a folder of the source in, edited. A script may be
// executed, whatever the checkout's umask.
func (l *list) tree(name, to string, edit func([]byte) []byte) {
	base := l.path(name)
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		l.write(edit(text), to+"/"+filepath.ToSlash(strings.TrimPrefix(path, base+string(filepath.Separator))))
		if bytes.HasPrefix(text, []byte("#!")) {
			l.entries[len(l.entries)-1].mode = 0o755
		}
		return nil
	})
	if err != nil && l.err == nil {
		l.err = err
	}
}

// systemd puts in what systemd wants to know, and a drop-in that it need not.
func (l *list) systemd(examples string) {
	units := "/usr/lib/systemd/system"
	l.from("init/systemd/dispatchd.service", units+"/dispatchd.service")
	l.from("init/systemd/dispatchd.socket", units+"/dispatchd.socket")
	l.from("init/systemd/hardening.conf", examples+"/systemd/hardening.conf")
	l.from("packaging/config/sysusers.conf", "/usr/lib/sysusers.d/dispatchd.conf")
	l.from("packaging/config/tmpfiles.conf", "/usr/lib/tmpfiles.d/dispatchd.conf")
}

// legal puts in licence and changes, where the system has no rules for them.
func (l *list) legal(doc string) {
	l.from("LICENSE", doc+"/LICENSE")
	l.from("CHANGELOG.md", doc+"/CHANGELOG.md")
}

// debian puts in what Debian's policy wants.
func (l *list) debian(doc string) {
	l.from("packaging/deb/copyright", doc+"/copyright")
	l.zipped(l.path("CHANGELOG.md"), doc+"/changelog.gz")
	l.gzip(l.debianChanges(), doc+"/changelog.Debian.gz")
	l.from("packaging/deb/lintian-overrides", "/usr/share/lintian/overrides/dispatchd")
}

// debianChanges is the package's own changelog; that of the program is beside it.
func (l *list) debianChanges() []byte {
	return fmt.Appendf(nil, "dispatchd (%s) unstable; urgency=medium\n\n  * Package of dispatchd %s; what is new in it stands in changelog.gz.\n\n -- %s  %s\n",
		l.release.in("deb"), l.release.version, maintainer, l.release.time.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}
