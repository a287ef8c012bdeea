package launch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// database makes a package database whose programs are played: answers are by
// package, and no answer is an exit status other than 0.
func database(t *testing.T, name string, here []string, answers map[string]string) (*Database, *[]string) {
	t.Helper()
	dir := t.TempDir()
	d := NewDatabase(name)
	for i := range d.known {
		d.known[i].marker = filepath.Join(dir, d.known[i].name)
	}
	for _, is := range here {
		if err := os.WriteFile(filepath.Join(dir, is), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var asked []string
	d.run = func(_ context.Context, argv ...string) ([]byte, error) {
		asked = append(asked, strings.Join(argv, " "))
		out, ok := answers[argv[len(argv)-1]]
		if !ok {
			return nil, errors.New("exit status 1")
		}
		return []byte(out), nil
	}
	return d, &asked
}

func TestDatabases(t *testing.T) {
	want := []string{"dns", "-web", "mail"}
	for _, c := range []struct {
		name    string
		here    []string
		answers map[string]string
		missing []string
		first   string // question
	}{
		{"dpkg", nil, map[string]string{"dns": "ii ", "-web": "rc ", "mail": "ii "}, []string{"-web"}, "/usr/bin/dpkg-query -W -f ${db:Status-Abbrev} -- dns"},
		{"auto", []string{"pkg"}, map[string]string{"dns": ""}, []string{"-web", "mail"}, "/usr/sbin/pkg info -e -- dns"},
		{"", []string{"apk", "rpm"}, map[string]string{"dns": "", "-web": "", "mail": ""}, nil, "/sbin/apk info -e -- dns"},
		{"rpm", []string{"apk"}, nil, want, "/usr/bin/rpm -q -- dns"},
	} {
		d, asked := database(t, c.name, c.here, c.answers)
		missing, err := d.Missing(t.Context(), want)
		if err != nil || !slices.Equal(missing, c.missing) {
			t.Errorf("%s: missing %q, %v; want %q", c.name, missing, err, c.missing)
		}
		if len(*asked) != 3 || (*asked)[0] != c.first {
			t.Errorf("%s: asked %q", c.name, *asked)
		}
	}
	d, asked := database(t, "auto", nil, nil)
	if _, err := d.Missing(t.Context(), want); !errors.Is(err, errNoDatabase) || len(*asked) > 0 {
		t.Errorf("without a database: %v, asked %q", err, *asked)
	}
}

// A package that is missing refuses the job, and says which, and what to do.
func TestCheckPackages(t *testing.T) {
	b := builder("/bin")
	spec := &dispatchers.Spec{Name: "op", Script: "x", RequiredPackages: []string{"dns", "web", "mail"}}
	for _, c := range []struct {
		packages           Packages
		detail, suggestion string
	}{
		{installed{"dns", "mail", "web"}, "", ""},
		{installed{"dns"}, "package web is required and not installed", "install web, then ask again"},
		{installed(nil), "package dns is required, and no package database was found (pkg, dpkg, rpm, apk)", "set package_manager in dispatchd.toml"},
	} {
		b.Packages = c.packages
		err := b.Check(t.Context(), spec)
		if c.detail == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		p, ok := errors.AsType[*ipc.Error](err)
		if !ok || p.Kind != ipc.KindPackageMissing || p.Detail != c.detail || p.Suggestion != c.suggestion || p.Dispatcher != "op" {
			t.Errorf("%+v, want %q", err, c.detail)
		}
	}
	b.Packages = nil // is not asked
	if err := b.Check(t.Context(), &dispatchers.Spec{Script: "x"}); err != nil {
		t.Error(err)
	}
}
