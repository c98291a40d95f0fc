package workflow

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/internal/redact"
	"github.com/bifrost-go/bifrost/internal/scope"
)

// Bounds of what is stored of one attempt's log.
const (
	maxLogLines   = 1000
	maxLogMessage = 8 << 10 // bytes
	maxLogAttrs   = 16 << 10
	maxLogBytes   = 1 << 20
)

// Logger returns the logger of the run that ctx belongs to, and slog.Default()
// outside of runs. Its lines, at every level, are stored with the execution, and
// go to Config.Logger as well; secrets that the run resolved are redacted in
// both. Of an attempt the first 1,000 lines or MiB are stored, of a line the
// first 8 KiB of the message, and up to 16 KiB of attributes.
func Logger(ctx context.Context) *slog.Logger {
	if x := runFrom(ctx); x != nil {
		return x.logger
	}
	return slog.Default()
}

// ExecutionID returns the id of the execution that ctx belongs to, or "".
func ExecutionID(ctx context.Context) string {
	if run := scope.RunFrom(ctx); run != nil {
		return run.ExecutionID
	}
	return ""
}

// Attempt returns which attempt at the execution ctx belongs to, from 1; 0
// outside of runs.
func Attempt(ctx context.Context) int {
	if run := scope.RunFrom(ctx); run != nil {
		return run.Attempt
	}
	return 0
}

// logBuffer holds lines that are not stored yet. The zero value is ready.
type logBuffer struct {
	mu      sync.Mutex
	lines   []Log
	count   int // lines accepted
	bytes   int
	dropped int
	ended   bool // nothing more is stored

	flushing sync.Mutex
}

func (b *logBuffer) add(l Log) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := len(l.Message) + len(l.Attrs)
	switch {
	case b.ended:
	case b.count >= maxLogLines || b.bytes+size > maxLogBytes:
		b.dropped++
	default:
		b.count++
		b.bytes += size
		l.Seq = b.count
		b.lines = append(b.lines, l)
	}
}

// flush hands the lines to store and forgets them if that succeeds.
func (b *logBuffer) flush(store func([]Log) error) {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	b.mu.Lock()
	lines := b.lines[:len(b.lines):len(b.lines)]
	b.mu.Unlock()
	if len(lines) == 0 || store(lines) != nil {
		return // they are offered again; stores ignore repetitions
	}
	b.mu.Lock()
	b.lines = b.lines[len(lines):]
	b.mu.Unlock()
}

// rest ends the buffer and returns what was not stored, at every call.
func (b *logBuffer) rest() []Log {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended && b.dropped > 0 {
		b.lines = append(b.lines, Log{
			Seq: b.count + 1, At: time.Now(), Level: slog.LevelWarn,
			Message: fmt.Sprintf("%d more lines were not kept", b.dropped),
		})
	}
	b.ended = true
	return b.lines
}

// handler stores what a run logs, and passes it on.
type handler struct {
	run  *run
	next slog.Handler // Config.Logger's

	// attrs renders attributes as slog's JSON handler does, into buf.
	attrs slog.Handler
	buf   *lockedBuffer
}

// lockedBuffer is shared by the handlers that WithAttrs and WithGroup derive.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func newHandler(x *run) *handler {
	buf := new(lockedBuffer)
	all := &slog.HandlerOptions{Level: slog.Level(-1 << 20)}
	return &handler{
		run: x, next: x.log.Handler(), buf: buf,
		// In a group of their own, so that the handler's own members are no part.
		attrs: slog.NewJSONHandler(buf, all).WithGroup("attrs"),
	}
}

// Enabled implements slog.Handler: every level is stored.
func (h *handler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, rec slog.Record) error {
	clean := slog.NewRecord(rec.Time, rec.Level, h.run.secrets.String(rec.Message), rec.PC)
	rec.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(cleanAttr(h.run.secrets, a))
		return true
	})
	at := rec.Time
	if at.IsZero() {
		at = time.Now()
	}
	h.run.logs.add(Log{
		Attempt: h.run.fence.Attempt, At: at, Level: rec.Level,
		Message: cut(clean.Message, maxLogMessage), Attrs: h.render(ctx, clean),
	})
	if h.next.Enabled(ctx, rec.Level) {
		return h.next.Handle(ctx, clean)
	}
	return nil
}

// render returns the attributes of rec and of the handler as a JSON object.
func (h *handler) render(ctx context.Context, rec slog.Record) json.RawMessage {
	h.buf.mu.Lock()
	defer h.buf.mu.Unlock()
	h.buf.Reset()
	var line struct{ Attrs json.RawMessage }
	if h.attrs.Handle(ctx, rec) != nil || json.Unmarshal(h.buf.Bytes(), &line) != nil {
		return json.RawMessage(`{"!error":"the attributes are not JSON"}`)
	}
	if len(line.Attrs) > maxLogAttrs {
		return json.RawMessage(fmt.Sprintf(`{"!error":"%d bytes of attributes were not kept"}`, len(line.Attrs)))
	}
	return h.run.secrets.JSON(keepable(line.Attrs))
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = cleanAttr(h.run.secrets, a)
	}
	d := *h
	d.next, d.attrs = h.next.WithAttrs(clean), h.attrs.WithAttrs(clean)
	return &d
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	name = h.run.secrets.String(name)
	d := *h
	d.next, d.attrs = h.next.WithGroup(name), h.attrs.WithGroup(name)
	return &d
}

// cleanAttr returns a with every secret replaced.
func cleanAttr(secrets *redact.Set, a slog.Attr) slog.Attr {
	a.Key = secrets.String(a.Key)
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindGroup:
		group := make([]slog.Attr, 0, len(v.Group()))
		for _, member := range v.Group() {
			group = append(group, cleanAttr(secrets, member))
		}
		a.Value = slog.GroupValue(group...)
	case slog.KindAny:
		a.Value = cleanAny(secrets, v.Any())
	default:
		if text := v.String(); secrets.Contains(text) {
			v = slog.StringValue(secrets.String(text))
		}
		a.Value = v
	}
	return a
}

// cleanAny renders a value of the caller's types, once and now: handlers would do
// it in ways of their own (the text handler prints unexported fields), and later,
// when it may have changed.
func cleanAny(secrets *redact.Set, value any) (clean slog.Value) {
	defer func() {
		if recover() != nil {
			clean = slog.StringValue("!PANIC")
		}
	}()
	if value == nil {
		return slog.AnyValue(nil)
	}
	if err, ok := value.(error); ok {
		return slog.StringValue(secrets.String(err.Error()))
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return slog.StringValue(secrets.String("!ERROR:" + err.Error()))
	}
	encoded = secrets.JSON(encoded)
	var text string
	if json.Unmarshal(encoded, &text) == nil && encoded[0] == '"' {
		return slog.StringValue(text)
	}
	return slog.AnyValue(json.RawMessage(encoded))
}
