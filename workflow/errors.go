package workflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotStarted: the registry runs nothing yet.
	ErrNotStarted = errors.New("workflow: not started; call bf.Start(ctx) first")
	// ErrClosed: the registry was closed.
	ErrClosed = errors.New("workflow: closed")
	// ErrUnknown: no workflow has this name.
	ErrUnknown = errors.New("workflow: no such workflow")
	// ErrNoOrg: the call has no scope.
	ErrNoOrg = errors.New("workflow: no organization; name one, or say global: a forgotten organization must not mean everybody's")
	// ErrInvalidOrg: the organization's id cannot be one.
	ErrInvalidOrg = errors.New("workflow: ids of organizations match [A-Za-z0-9._~-]{1,128}, and . and .. are none")
	// ErrForbiddenOrg: a run asked for an execution in another scope than its own.
	ErrForbiddenOrg = errors.New("workflow: a run may execute workflows for its own organization only; " +
		"register it with workflow.CrossOrg() if it must reach others")
	// ErrInvalidRunAt: the time at which an execution was to begin cannot be one.
	ErrInvalidRunAt = errors.New("workflow: RunAt must be in the future, and needs Async")
	// ErrInvalidKey: the idempotency key cannot be one.
	ErrInvalidKey = errors.New("workflow: a key has 1 to 255 printable ASCII characters and no spaces")
	// ErrKeyReused: the key belongs to an execution with another input.
	ErrKeyReused = errors.New("workflow: the key was used with another input; use another key for another request")
	// ErrNotFailed: only what failed, timed out or was cancelled is executed again.
	ErrNotFailed = errors.New("workflow: only executions that failed, timed out or were cancelled can be retried")
	// ErrFinished: the execution is finished, so there is nothing to cancel.
	ErrFinished = errors.New("workflow: the execution is finished already")
	// ErrUnavailable: the store could not be read, or has not confirmed a write. It may
	// work later; what the store said is behind it.
	ErrUnavailable = errors.New("workflow: the store is not available")
	// ErrBadCursor: the cursor is not one that Executions returned.
	ErrBadCursor = errors.New("workflow: bad cursor; use Page.Next of the page before, or an empty one to start")
)

// stored tells a fault of the store from its answers, and from the leaving of the
// caller, whose ctx is. Without his leaving, DeadlineExceeded is a store that was too slow.
func stored(ctx context.Context, err error) error {
	left := ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
	if err == nil || left || errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// InputError says which parts of an input do not fit the workflow's input
// schema. Nothing was queued. Values of the input are not repeated, unless a type
// with a decoder of its own does.
type InputError struct {
	Workflow string
	Fields   []FieldError // at least one
}

// FieldError is one thing that is wrong with an input.
type FieldError struct {
	Field   string // path such as "filter.names[2]"; empty for the input as a whole
	Message string // such as "is required"
}

// Error implements error.
func (e *InputError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "workflow: input of %s does not fit", e.Workflow)
	for i, f := range e.Fields {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		if f.Field == "" {
			b.WriteString("it " + f.Message)
		} else {
			b.WriteString(f.Field + " " + f.Message)
		}
	}
	return b.String()
}

// RunError is what [Execution.Result] returns for an execution that ended
// without a result.
type RunError struct {
	ID       string
	Workflow string
	Status   Status // Failed, TimedOut or Cancelled
	Failure  Failure
}

// Error implements error.
func (e *RunError) Error() string {
	return fmt.Sprintf("workflow: %s %s (execution %s, %s): %s",
		e.Workflow, strings.ReplaceAll(string(e.Status), "_", " "), e.ID, e.Failure.Code, e.Failure.Message)
}

// ErrorCode returns the failure's code, so that a workflow which returns the error of
// another one fails with the same code.
func (e *RunError) ErrorCode() string { return e.Failure.Code }
