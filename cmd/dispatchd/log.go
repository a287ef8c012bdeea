package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"dispatchd/dispatchers"
)

// newLogger writes as dispatchd.toml says; by default for people on a terminal,
// and plain key=value lines with quoted values else. The command line's level
// is stronger.
func newLogger(w io.Writer, s dispatchers.Settings, f *flags) *slog.Logger {
	options := &slog.HandlerOptions{Level: level(s.LogLevel, f)}
	file, ok := w.(*os.File)
	terminal := ok && term.IsTerminal(int(file.Fd()))
	switch {
	case s.LogFormat == "json":
		return slog.New(slog.NewJSONHandler(w, options))
	case s.LogFormat == "auto" && (terminal || f.color == "always"):
		plain := f.color == "never" || f.color == "auto" && os.Getenv("NO_COLOR") != ""
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: options.Level, TimeFormat: time.TimeOnly, NoColor: plain}))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// level is how much is logged.
func level(word string, f *flags) slog.Level {
	switch {
	case f.verbose:
		return slog.LevelDebug
	case f.quiet:
		return slog.LevelWarn
	}
	var l slog.Level
	if l.UnmarshalText([]byte(word)) != nil {
		return slog.LevelInfo
	}
	return l
}

// absolute is the absolute form of a path given on the command line.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}
