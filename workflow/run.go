package workflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bifrost-go/bifrost/internal/redact"
	"github.com/bifrost-go/bifrost/internal/scope"
)

const (
	// maxMessage and maxCode bound what is kept of a failure, bytes.
	maxMessage = 4096
	maxCode    = 64
)

// run is one attempt that executes in this process.
type run struct {
	fence   Fence
	def     *definition
	rec     *Record
	secrets *redact.Set // what the run resolved so far
	logs    *logBuffer
	log     *slog.Logger // Config.Logger with what identifies the run
	logger  *slog.Logger // the function's own
	cancel  context.CancelCauseFunc
}

type runKey struct{}

// runFrom returns the run that ctx belongs to, or nil.
func runFrom(ctx context.Context) *run {
	x, _ := ctx.Value(runKey{}).(*run)
	return x
}

// launch begins to run rec, in a slot that the caller took and that the run's
// function gives back.
func (r *Registry) launch(d *definition, rec *Record) {
	x := &run{
		fence: Fence{rec.ID, rec.Attempt}, def: d, rec: rec, secrets: new(redact.Set), logs: new(logBuffer),
		log: r.log.With("workflow", rec.Workflow, "execution", rec.ID, "attempt", rec.Attempt, "org", rec.Scope.Org),
	}
	ctx, cancel := context.WithCancelCause(r.base)
	x.cancel = cancel
	if r.cfg.Context != nil {
		ctx = r.cfg.Context(ctx)
	}
	ctx = scope.WithRun(ctx, &scope.Run{
		Workflow: d.name, ExecutionID: rec.ID, Attempt: rec.Attempt, Scope: rec.Scope, CrossOrg: d.crossOrg,
		Redact: x.secrets.Add,
	})
	x.logger = slog.New(newHandler(x))
	ctx = context.WithValue(ctx, runKey{}, x)
	ctx, stop := context.WithTimeoutCause(ctx, d.timeout, errTimedOut)
	if rec.Status == Cancelling { // and its process vanished
		cancel(errCancelled)
	}

	r.mu.Lock()
	r.runs[rec.ID] = x
	r.mu.Unlock()
	r.running.Go(func() {
		defer cancel(nil)
		defer stop()
		r.perform(ctx, x)
	})
}

// ending is how a function ended.
type ending struct {
	result  json.RawMessage
	failure *Failure // nil if it returned a result
	stack   string   // of a panic
	ignored bool     // it did not: it ignores its context
	final   bool     // another try would end alike
}

// perform executes the function and sees to it that the outcome is recorded, or
// the run handed back, whatever the function does.
func (r *Registry) perform(ctx context.Context, x *run) {
	ended := make(chan ending, 1)
	go func() {
		// What stays if the function ends its goroutine with runtime.Goexit.
		e := ending{failure: &Failure{CodePanic, "the function called runtime.Goexit"}}
		defer func() {
			<-r.slots
			ended <- e
		}()
		e = x.call(ctx)
	}()
	var e ending
	select {
	case e = <-ended:
	case <-ctx.Done():
		patience := time.NewTimer(grace)
		defer patience.Stop()
		select {
		case e = <-ended:
		case <-patience.C:
			e.ignored = true
		}
	}
	r.settle(context.Cause(ctx), x, e)

	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.runs, x.fence.ID)
	for _, w := range r.waiting[x.fence.ID] {
		close(w)
	}
	delete(r.waiting, x.fence.ID)
}

// call runs the function. Everything that touches values of the function's own
// types happens here, where a panic of their methods is caught too.
func (x *run) call(ctx context.Context) (e ending) {
	defer func() {
		if v := recover(); v != nil {
			e = ending{failure: &Failure{CodePanic, fmt.Sprint("panic: ", v)}, stack: string(debug.Stack())}
		}
	}()
	if x.rec.Status == Cancelling {
		return ending{failure: &Failure{CodeCancelled, "the process running it ended before it had stopped"}}
	}
	if x.rec.Takeovers > maxTakeovers {
		return ending{final: true, failure: &Failure{CodeLost, fmt.Sprintf(
			"the process running it ended %d times before it was finished; it is not tried again", x.rec.Takeovers)}}
	}
	result, err := x.def.call(ctx, x.rec.Input)
	switch {
	case err != nil:
		return ending{final: isPermanent(err), failure: &Failure{codeOf(err), err.Error()}}
	case len(result) > maxPayload:
		return ending{final: true, failure: &Failure{CodeResult, fmt.Sprintf("the result has %d bytes of JSON, more than %d", len(result), maxPayload)}}
	}
	return ending{result: keepable(result)}
}

// codeOf returns the code that an error, or one it wraps, gives itself.
func codeOf(err error) string {
	var coded interface{ ErrorCode() string }
	if errors.As(err, &coded) {
		if code := coded.ErrorCode(); code != "" {
			return code
		}
	}
	return CodeError
}

// settle records how a run ended, or hands it back. cause is why its context had
// ended by then, or nil.
func (r *Registry) settle(cause error, x *run, e ending) {
	ctx := r.base
	if e.stack != "" {
		x.log.ErrorContext(ctx, "workflow: panic", "error", x.secrets.String(e.failure.Message), "stack", x.secrets.String(e.stack))
	}
	panicked := e.failure != nil && e.failure.Code == CodePanic
	cutShort := e.ignored || e.failure != nil && !panicked
	switch {
	case errors.Is(cause, errTakenOver):
		x.log.WarnContext(ctx, "workflow: another process took this run over; this attempt's outcome is dropped")
		return
	case errors.Is(cause, errClosing) && cutShort:
		x.log.WarnContext(ctx, "workflow: handed back unfinished, because this process closes; it will run again")
		logs := x.logs.rest()
		r.write(x, func(ctx context.Context) error { return r.cfg.Store.Release(ctx, x.fence, logs) })
		return
	}
	o := x.outcome(cause, cutShort, e)
	if (o.Status == Failed || o.Status == TimedOut) && x.rec.Retries < x.def.retries && !e.final && !e.ignored {
		r.retry(ctx, x, *o.Error)
		return
	}
	if o.Error != nil {
		x.log.WarnContext(ctx, "workflow: the run ended without a result", "status", string(o.Status), "code", o.Error.Code, "error", o.Error.Message)
	}
	o.Logs = x.logs.rest()
	r.write(x, func(ctx context.Context) error { return r.cfg.Store.Finish(ctx, x.fence, o) })
}

// retry records that a run failed and is to be tried again. The run's own log says
// so, because the next attempt's outcome replaces this one's.
func (r *Registry) retry(ctx context.Context, x *run, why Failure) {
	delay := retryDelay(x.rec.Retries)
	x.logger.WarnContext(ctx, "workflow: failed; trying again", "code", why.Code, "error", why.Message,
		"delay", delay.Round(time.Millisecond).String(), "left", x.def.retries-x.rec.Retries-1)
	logs := x.logs.rest()
	r.write(x, func(ctx context.Context) error { return r.cfg.Store.Retry(ctx, x.fence, delay, why, logs) })
}

// outcome is what is stored of an ending: without the secrets the run resolved, and
// without log lines yet. What ended the context early counts if it cut the function
// short; one that finished its work all the same has done it.
func (x *run) outcome(cause error, cutShort bool, e ending) Outcome {
	o := Outcome{Status: Succeeded, Result: x.secrets.JSON(e.result)}
	switch {
	case cutShort && errors.Is(cause, errTimedOut):
		o.Status, o.Error = TimedOut, &Failure{CodeTimeout, fmt.Sprintf("did not end within %s", x.def.timeout) + e.afterwards()}
	case cutShort && errors.Is(cause, errCancelled):
		o.Status, o.Error = Cancelled, &Failure{CodeCancelled, "cancelled" + e.afterwards()}
	case e.failure != nil:
		o.Status, o.Error = Failed, e.failure
	default:
		return o
	}
	o.Result, o.Error = nil, &Failure{
		Code:    cut(x.secrets.String(o.Error.Code), maxCode),
		Message: cut(x.secrets.String(o.Error.Message), maxMessage),
	}
	return o
}

// afterwards is what a function did when its context had ended.
func (e ending) afterwards() string {
	if e.ignored {
		return ", and goes on, because it ignores its context"
	}
	return ": " + e.failure.Message
}

// write repeats a write until it is done, the run is lost, or the registry has
// no time left. The lease is extended meanwhile.
func (r *Registry) write(x *run, do func(context.Context) error) {
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		ctx, cancel := context.WithTimeout(r.base, storeTimeout)
		err := do(ctx)
		if errors.Is(err, ErrCancelling) { // in place of another attempt
			err = r.cfg.Store.Finish(ctx, x.fence, Outcome{
				Status: Cancelled, Error: &Failure{CodeCancelled, "cancelled"}, Logs: x.logs.rest(),
			})
		}
		cancel()
		if err == nil {
			return
		}
		if errors.Is(err, ErrLost) {
			// Or an earlier try was written although it reported an error.
			x.log.WarnContext(ctx, "workflow: the run belongs to another attempt or is recorded already; nothing was written")
			return
		}
		x.log.ErrorContext(ctx, "workflow: cannot record how the run ended; trying again", "error", err)
		select {
		case <-r.hurry:
			r.unrecorded.Add(1)
			return
		case <-time.After(delay):
		}
	}
}

// keepable makes JSON something that stores can keep: a json.RawMessage in it may
// have been anything.
func keepable(doc json.RawMessage) json.RawMessage {
	if utf8.Valid(doc) {
		return doc
	}
	return bytes.ToValidUTF8(doc, []byte("\uFFFD"))
}

// cut shortens text to at most limit bytes, at a whole character.
func cut(text string, limit int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD") // what stores can keep
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}
