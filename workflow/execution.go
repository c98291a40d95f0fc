package workflow

import (
	"context"
	"encoding/json"
	"fmt"
)

// Execution is an execution of a workflow with results of type Out.
type Execution[Out any] struct {
	registry *Registry
	rec      *Record
}

// Execute begins an execution for an organization and returns without waiting for
// its end; see [Execution.Result], [Key] and [At]. Errors are those of
// [Registry.Execute].
func (w *Workflow[In, Out]) Execute(ctx context.Context, org string, in In, opts ...ExecuteOption) (*Execution[Out], error) {
	if org == "" {
		return nil, ErrNoOrg // an empty argument must not become the context's scope
	}
	return w.execute(ctx, Org(org), in, opts)
}

// ExecuteGlobal begins an execution that belongs to no organization. It may read
// every organization's connections.
func (w *Workflow[In, Out]) ExecuteGlobal(ctx context.Context, in In, opts ...ExecuteOption) (*Execution[Out], error) {
	return w.execute(ctx, Global(), in, opts)
}

func (w *Workflow[In, Out]) execute(ctx context.Context, s Scope, in In, opts []ExecuteOption) (*Execution[Out], error) {
	input, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("workflow: the input of %s is not JSON: %w", w.def.name, err)
	}
	id, done, err := newWatch(w.registry)
	if err != nil {
		return nil, err
	}
	defer w.registry.unwatch(id, done)
	req := ExecuteRequest{Scope: s, Input: input, Async: true}
	for _, opt := range opts {
		opt(&req)
	}
	rec, err := w.registry.submit(ctx, w.def, id, req, true)
	if err != nil {
		return nil, err
	}
	return &Execution[Out]{w.registry, rec}, nil
}

// ID returns the execution's id, under which [Registry.Execution] finds it.
func (e *Execution[Out]) ID() string { return e.rec.ID }

// Result waits until the execution is finished, by whichever process, and returns
// what was stored: secrets that the run resolved are redacted. An execution that
// failed, timed out or was cancelled is a [*RunError]. The context ends the waiting, never the
// execution; if the registry is closed first, the error is [ErrClosed].
func (e *Execution[Out]) Result(ctx context.Context) (Out, error) {
	var out Out
	done := e.registry.watch(e.rec.ID)
	defer e.registry.unwatch(e.rec.ID, done)
	// Once before waiting: it may have ended before the watch began.
	rec, err := e.registry.latest(ctx, e.rec)
	if err == nil && !rec.Status.Finished() {
		rec, err = e.registry.await(ctx, rec, done)
	}
	switch {
	case err != nil:
		return out, err
	case !rec.Status.Finished():
		return out, ErrClosed
	case rec.Error != nil:
		return out, &RunError{ID: rec.ID, Workflow: rec.Workflow, Status: rec.Status, Failure: *rec.Error}
	}
	if err := json.Unmarshal(rec.Result, &out); err != nil {
		return out, fmt.Errorf("workflow: the result of execution %s does not fit %T: %w", rec.ID, out, err)
	}
	return out, nil
}
