package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"dispatchd/dispatchers"
	"dispatchd/ipc/terminal"
)

// newLogger makes the logger that dispatchd.toml asks for. log_format "auto" means
// colours on a terminal, fields in systemd's journal where standard error is a
// stream of it, syslog where standard error is /dev/null, and else key=value lines
// with quoted values. A private instance (--root) leaves syslog alone. A level on
// the command line comes before log_level.
func newLogger(w io.Writer, s dispatchers.Settings, f *flags) *slog.Logger {
	options := &slog.HandlerOptions{Level: level(s.LogLevel, f)}
	format := logFormat(w, s.LogFormat, f)
	if terminal.IsDevice(w) {
		w = terminal.NewOutput(w) // quoting is the handlers', and JSON quotes neither C1 nor DEL
	}
	plain := slog.NewTextHandler(w, options)
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, options))
	case "journal":
		return slog.New(newLineHandler(options.Level, journalSink, plain))
	case "syslog":
		return slog.New(newLineHandler(options.Level, newSyslogSink(false).write, plain))
	case "syslog5424":
		return slog.New(newLineHandler(options.Level, newSyslogSink(true).write, plain))
	case "terminal":
		colourless := f.color == "never" || f.color == "auto" && os.Getenv("NO_COLOR") != ""
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: options.Level, TimeFormat: time.TimeOnly, NoColor: colourless}))
	}
	return slog.New(plain)
}

// logFormat gives the form of the log, and resolves "auto".
func logFormat(w io.Writer, word string, f *flags) string {
	if word != "auto" {
		return word
	}
	if file, ok := w.(*os.File); f.color == "always" || ok && term.IsTerminal(int(file.Fd())) {
		return "terminal"
	}
	if ours, err := journal.StderrIsJournalStream(); err == nil && ours && w == io.Writer(os.Stderr) {
		return "journal"
	}
	if f.root == "" && isNull(w) {
		return "syslog"
	}
	return "text"
}

// isNull reports whether w is /dev/null, as standard error is under OpenRC.
func isNull(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(ours, null)
}

// level gives the lowest level that is logged.
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
