package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// logSink takes one log line, and the attributes that are in it once more.
type logSink func(level slog.Level, line string, attrs []slog.Attr) error

// lineHandler makes a line of each record, "message key=value ...", for a log
// service that adds time, level and name by itself. It quotes values that have
// spaces or quotes, and gives a record that the service does not take to other.
type lineHandler struct {
	level slog.Leveler
	sink  logSink
	other slog.Handler
	buf   *lineBuffer
	text  slog.Handler // writes to buf
	attrs []slog.Attr  // of With
	group string       // of WithGroup, with its dot
}

// lineBuffer holds one line at a time; all handlers of WithAttrs share it.
type lineBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

// newLineHandler makes one.
func newLineHandler(level slog.Leveler, sink logSink, other slog.Handler) *lineHandler {
	b := &lineBuffer{}
	text := slog.NewTextHandler(b, &slog.HandlerOptions{Level: level, ReplaceAttr: attributesOnly})
	return &lineHandler{level: level, sink: sink, other: other, buf: b, text: text}
}

// attributesOnly leaves out time and level, which the service adds, and message.
func attributesOnly(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

// Enabled reports whether records of a level are written.
func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle writes a record.
func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	line, err := h.line(ctx, r)
	if err != nil {
		return err
	}
	attrs := append([]slog.Attr(nil), h.attrs...)
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, h.grouped(a)); return true })
	if h.sink(r.Level, line, attrs) != nil {
		return h.other.Handle(ctx, r)
	}
	return nil
}

// line gives the record as text. Control characters become spaces: syslog takes
// a line break for the end of a record.
func (h *lineHandler) line(ctx context.Context, r slog.Record) (string, error) {
	h.buf.mu.Lock()
	defer h.buf.mu.Unlock()
	h.buf.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return "", err
	}
	text := r.Message
	if attrs := strings.TrimSpace(h.buf.String()); attrs != "" {
		text += " " + attrs
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text), nil
}

// grouped is an attribute with its group's name.
func (h *lineHandler) grouped(a slog.Attr) slog.Attr {
	a.Key = h.group + a.Key
	return a
}

// WithAttrs gives a handler that adds attributes.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.text, next.other = h.text.WithAttrs(attrs), h.other.WithAttrs(attrs)
	next.attrs = append([]slog.Attr(nil), h.attrs...)
	for _, a := range attrs {
		next.attrs = append(next.attrs, h.grouped(a))
	}
	return &next
}

// WithGroup gives a handler that names attributes by a group.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.text, next.other = h.text.WithGroup(name), h.other.WithGroup(name)
	next.group = h.group + name + "."
	return &next
}
