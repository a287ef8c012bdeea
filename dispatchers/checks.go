package dispatchers

import (
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// A check says what is wrong with one string, "" when it is good.

// className checks php_class: the name of a class, with or without its namespace.
func className(s string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(s, `\`), `\`) {
		if !matches(part, "a_", "a0_", len(part)) {
			return "is no name of a PHP class"
		}
	}
	return ""
}

// oneLine keeps a description in its column of a list.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
		return "has control characters, want one line of text"
	}
	return ""
}

// notBlank refuses an empty text, and one of spaces alone.
func notBlank(s string) string {
	if strings.TrimSpace(s) == "" {
		return "is empty"
	}
	return ""
}

// absolutePath wants a path that does not depend on a working directory.
func absolutePath(s string) string {
	if !filepath.IsAbs(s) {
		return "want an absolute path"
	}
	return ""
}

// packageName checks one name of required_packages. The package manager would
// take "--root=/" for an option and "*" for a pattern.
func packageName(s string) string {
	if !matches(s, "a0", "a0+._:@~/-", 200) {
		return "is no name of a package"
	}
	return ""
}

// account checks the name or number of a user or group.
func account(s string) string {
	if !matches(strings.TrimSuffix(s, "$"), "a0_", "a0_.@-", 64) {
		return "is no name of a user or group"
	}
	return ""
}

// pattern checks a regular expression.
func pattern(s string) string {
	if _, err := regexp.Compile(s); err != nil {
		return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	return ""
}

// program wants a path or a bare name: never a command line, and nothing below
// a working directory.
func program(s string) string {
	if !filepath.IsAbs(s) && (s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/ \t\n")) {
		return "want an absolute path or the bare name of a program"
	}
	return ""
}

// orEmpty lets the empty string pass, which means the default.
func orEmpty(check func(string) string) func(string) string {
	return func(s string) string {
		if s == "" {
			return ""
		}
		return check(s)
	}
}

// searchPath wants absolute directories. execvp(3) takes an empty or relative
// one from the working directory, which is the job's.
func searchPath(s string) string {
	for dir := range strings.SplitSeq(s, ":") {
		if !filepath.IsAbs(dir) {
			return "want absolute directories with colons between"
		}
	}
	return ""
}

// dispatcherName checks one name of on_success and on_failure.
func dispatcherName(s string) string {
	if !ValidName(s) {
		return "is no name of a dispatcher"
	}
	return ""
}

// member checks a user, or a @group.
func member(s string) string { return account(strings.TrimPrefix(s, "@")) }
