package workflow

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"time"
)

// maxKey is how long an idempotency key may be.
const maxKey = 255

// check looks at what the scope and the input leave of a request.
func (req *ExecuteRequest) check() error {
	if !req.RunAt.IsZero() && (!req.Async || !req.RunAt.After(time.Now())) {
		return ErrInvalidRunAt
	}
	if len(req.Key) > maxKey || req.keyed && req.Key == "" {
		return ErrInvalidKey
	}
	for _, c := range []byte(req.Key) {
		if c <= ' ' || c > '~' {
			return ErrInvalidKey
		}
	}
	return nil
}

// sameRequest returns the execution of a key if it was submitted with this input.
func sameRequest(ctx context.Context, rec *Record, input json.RawMessage, err error) (*Record, error) {
	if err != nil {
		return nil, stored(ctx, err)
	}
	if !sameJSON(rec.Input, input) {
		return nil, ErrKeyReused
	}
	return rec, nil
}

// sameJSON reports whether two documents hold the same, in whatever order of their
// members. Numbers are compared as they are written: as floats, long ids would be
// equal to their neighbours.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var values [2]any
	for i, text := range [2]json.RawMessage{a, b} {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if dec.Decode(&values[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// Retry executes again what failed, timed out or was cancelled: a new execution, of
// the same workflow, scope and input, without a key, begun as soon as a worker is
// free. The old one stays in the history as it is, and its key leads to it still.
//
// Errors: [ErrNotFound], [ErrNotFailed], and those of [Registry.Execute];
// [*InputError] if the input no longer fits.
func (r *Registry) Retry(ctx context.Context, id, principal string) (*Record, error) {
	rec, err := r.Execution(ctx, id)
	if err != nil {
		return nil, err
	}
	switch rec.Status {
	case Failed, TimedOut, Cancelled:
	default:
		return nil, ErrNotFailed
	}
	return r.Execute(ctx, rec.Workflow, ExecuteRequest{Scope: rec.Scope, Input: rec.Input, Async: true, Principal: principal})
}
