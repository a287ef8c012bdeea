package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// published is what is built: its version, and the time that all files get.
type published struct {
	version string
	time    time.Time
}

// versions is the form of a version. What follows the ~ sorts before the
// version itself in every format.
var versions = regexp.MustCompile(`^([0-9]+\.[0-9]+\.[0-9]+)(?:~((?:alpha|beta|pre|rc)[0-9]+))?$`)

// release finds version and time: the flag, else the tag of the commit, else the
// commit's time; $SOURCE_DATE_EPOCH, else the commit's time.
func release(root, version string) (published, error) {
	when, err := buildTime(root)
	if err != nil {
		return published{}, err
	}
	if version == "" {
		version = "0.0.0~pre" + when.Format("20060102150405")
		for tag := range strings.FieldsSeq(git(root, "tag", "--points-at", "HEAD")) {
			if v, ok := strings.CutPrefix(tag, "v"); ok && versions.MatchString(v) {
				version = v
			}
		}
	}
	if !versions.MatchString(version) {
		return published{}, fmt.Errorf("%q is no version: use one like 1.2.0, or 1.2.0~rc1", version)
	}
	return published{version, when}, nil
}

// buildTime is the time of the build as far as its result is concerned.
func buildTime(root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		text = git(root, "log", "-1", "--format=%ct")
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("the time of the source is not known: set SOURCE_DATE_EPOCH, or build in a git checkout")
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// git is what git says, "" where there is none.
func git(root string, args ...string) string {
	out, err := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// in words the version as a package format does.
func (p published) in(format string) string {
	part := versions.FindStringSubmatch(p.version)
	if part[2] == "" {
		return part[1]
	}
	switch format {
	case "apk":
		return part[1] + "_" + part[2]
	case "freebsd":
		return part[1] + "." + part[2]
	}
	return p.version
}
