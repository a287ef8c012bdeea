//go:build pfsense

// Package pfsense holds what packaging/pfsense and packaging/php ship against
// real PHP: the bridge alone, under a daemon, and where PFREST_SRC names a
// checkout of the REST API package and PFBOX the program that gives it a place
// to run, with its own unmodified classes. Else a stand-in of ours plays them.
package pfsense

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dispatchd/test/box"
)

// source is what is shipped.
const source = "../pfsense"

func TestMain(m *testing.M) { os.Exit(box.Main(m)) }

// needPHP finds PHP, or skips.
func needPHP(t testing.TB) string {
	t.Helper()
	box.Look(t)
	php, err := exec.LookPath("php")
	if err != nil {
		t.Skip("no php: install php-cli")
	}
	return php
}

// standin is the directory of our stand-in for the REST API package.
func standin(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/standin")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// phpBox is a box that has PHP and what is shipped for it.
type phpBox struct{ *box.Box }

// at is a box whose files lie in a directory that is there.
func at(t testing.TB, dir string) *phpBox {
	t.Helper()
	return &phpBox{&box.Box{T: t, Dir: dir}}
}

// newBox makes a root whose php_class runs over the stand-in, and starts the
// daemon.
func newBox(t *testing.T, files map[string]string) *phpBox {
	t.Helper()
	php := needPHP(t)
	b := &phpBox{box.New(t, files)}
	// What root runs is root's alone: a checkout may not be.
	b.copyTree(source, "php")
	b.copyTree("testdata/standin", "standin")
	b.program("phpwrap", fmt.Sprintf("#!/bin/sh\nexec %s -d include_path=%s/standin \"$@\"\n", php, b.Dir))
	b.settings("phpwrap", "lazy")
	b.Start()
	t.Cleanup(b.End)
	return b
}

// program writes a program of the box.
func (b *phpBox) program(name, text string) {
	b.T.Helper()
	b.Write(name, text)
	if err := os.Chmod(b.Path(name), 0o755); err != nil {
		b.T.Fatal(err)
	}
}

// settings has the daemon run classes by a PHP and the bridge of the box.
func (b *phpBox) settings(php, loader string) {
	b.T.Helper()
	b.Write("dispatchd.toml", fmt.Sprintf("php = %q\nphp_bridge = %q\nphp_loader = %q\n", b.Path(php), b.Path("php/bridge.php"), loader))
}

// copyTree copies a directory of the sources into the box.
func (b *phpBox) copyTree(from, to string) {
	b.T.Helper()
	if err := os.CopyFS(b.Path(to), os.DirFS(from)); err != nil {
		b.T.Fatal(err)
	}
}

// phpClient puts the PHP client beside the bridge, as the package does.
func (b *phpBox) phpClient() {
	b.T.Helper()
	text, err := os.ReadFile("../php/Dispatchd.php")
	if err != nil {
		b.T.Fatal(err)
	}
	b.Write("php/Dispatchd.php", string(text))
}
