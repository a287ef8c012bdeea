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

// lineHandler makes a line of each record, "what happened key=value ...", for a
// log service that adds time, level and name by itself. Values are quoted where
// they could be taken for something else. What the service does not take goes
// to the other handler.
type lineHandler struct {
	level slog.Leveler
	sink  logSink
	other slog.Handler
	pen   *pen
	text  slog.Handler // writes to the pen
	attrs []slog.Attr  // of With
	group string       // of WithGroup, with its dot
}

// pen is what one line is written with at a time.
type pen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// newLineHandler makes one.
func newLineHandler(level slog.Leveler, sink logSink, other slog.Handler) *lineHandler {
	p := &pen{}
	text := slog.NewTextHandler(&p.buf, &slog.HandlerOptions{Level: level, ReplaceAttr: attributesOnly})
	return &lineHandler{level: level, sink: sink, other: other, pen: p, text: text}
}

// attributesOnly leaves out what the service adds, and the message.
func attributesOnly(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

// Enabled says whether records of a level are written.
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

// line is the record as text. One that has several lines would be several
// records to the service, so there are none.
func (h *lineHandler) line(ctx context.Context, r slog.Record) (string, error) {
	h.pen.mu.Lock()
	defer h.pen.mu.Unlock()
	h.pen.buf.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return "", err
	}
	text := r.Message
	if attrs := strings.TrimSpace(h.pen.buf.String()); attrs != "" {
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
