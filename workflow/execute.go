package workflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/internal/scope"
)

const (
	// maxWait bounds how long a synchronous Execute waits.
	maxWait = 60 * time.Second
	// waitSlack is added to a workflow's timeout, so that a run which began at
	// once is seen to time out.
	waitSlack = 2 * grace
	// awaitPoll is how often a run in another process is looked at.
	awaitPoll = 250 * time.Millisecond
)

// ExecuteRequest is what [Registry.Execute] needs.
type ExecuteRequest struct {
	// Scope is whose execution it is; None takes the context's, and is an error
	// if that has none either.
	Scope Scope
	// Input is a JSON value; absent or null is {}.
	Input json.RawMessage
	// Async returns as soon as the execution is queued.
	Async bool
	// RunAt delays the execution until then; it needs Async. Zero: at once.
	RunAt time.Time
	// Key makes the request repeatable: while the execution that it led to is in the
	// history, the same key for the same workflow and scope leads to that one again,
	// whatever became of it. Executions are not deleted, so that is for good. A key
	// has 1 to 255 printable ASCII characters and no spaces; empty: none.
	Key string
	// Principal is who asks, for the history; optional.
	Principal string

	keyed bool // Key was said, even if it is empty
}

// ExecuteOption changes how [Workflow.Execute] begins an execution.
type ExecuteOption func(*ExecuteRequest)

// Key is the idempotency key of a request; see [ExecuteRequest].
func Key(key string) ExecuteOption {
	return func(req *ExecuteRequest) { req.Key, req.keyed = key, true }
}

// At delays an execution until t, which must be in the future.
func At(t time.Time) ExecuteOption {
	return func(req *ExecuteRequest) { req.RunAt = t }
}

// Execute queues an execution of the named workflow and waits for its end, at
// most as long as its timeout and 60 s; then it returns the record as it is,
// unfinished. An execution that failed, timed out or was cancelled is no error of
// Execute: look at the record.
//
// A synchronous execution begins at once in this process, if it has a free
// worker. The context ends the waiting only, never the execution; Execute then
// returns the record and the context's error.
//
// Called from within a workflow, it keeps that one's worker busy while it waits.
//
// Errors: [ErrUnknown], [ErrNoOrg], [ErrInvalidOrg], [ErrForbiddenOrg],
// [*InputError], [ErrInvalidRunAt], [ErrInvalidKey], [ErrKeyReused],
// [ErrNotStarted], [ErrClosed], and [ErrUnavailable]. After that the execution
// may have been queued all the same; with a Key the request can be repeated.
func (r *Registry) Execute(ctx context.Context, name string, req ExecuteRequest) (*Record, error) {
	d := r.definition(name)
	if d == nil {
		return nil, fmt.Errorf("%w: %q; register it with workflow.Register", ErrUnknown, name)
	}
	id, done, err := newWatch(r)
	if err != nil {
		return nil, err
	}
	defer r.unwatch(id, done)
	rec, err := r.submit(ctx, d, id, req, !req.Async)
	if err != nil || req.Async || rec.Status.Finished() {
		return rec, err
	}
	if rec.ID != id { // an earlier one, under the same key
		done = r.watch(rec.ID)
		defer r.unwatch(rec.ID, done)
		// Once before waiting: it may have ended before the watch began.
		if rec, err = r.latest(ctx, rec); err != nil || rec.Status.Finished() {
			return rec, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, min(d.timeout+waitSlack, maxWait), errWaited)
	defer cancel()
	return r.await(ctx, rec, done)
}

// submit stores an execution and, with direct, runs it at once if a worker is
// free.
func (r *Registry) submit(ctx context.Context, d *definition, id string, req ExecuteRequest, direct bool) (*Record, error) {
	sc, err := scopeOf(ctx, req.Scope)
	if err != nil {
		return nil, err
	}
	input, err := d.input.check(d.name, req.Input)
	if err != nil {
		return nil, err
	}
	// Inputs are stored as they are, because the run needs them; keys likewise.
	if x := runFrom(ctx); x != nil && !bytes.Equal(x.secrets.JSON(input), input) {
		return nil, &InputError{Workflow: d.name, Fields: []FieldError{{
			Message: "holds a secret that the calling run resolved, and inputs are stored; let the called workflow resolve it itself",
		}}}
	} else if x != nil && x.secrets.Contains(req.Key) {
		return nil, fmt.Errorf("%w: this one holds a secret that the calling run resolved, and keys are stored", ErrInvalidKey)
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.work.Done()

	// From here on the caller's leaving changes nothing: a half stored execution
	// would be one that nobody knows of.
	whole := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(whole, storeTimeout)
	defer cancel()
	n := &Record{
		ID: id, Workflow: d.name, Scope: sc, Input: input, Principal: req.Principal, Key: req.Key, RunAt: req.RunAt,
	}
	if direct && req.RunAt.IsZero() {
		select {
		case r.slots <- struct{}{}:
			rec, err := r.cfg.Store.Insert(ctx, n, r.cfg.Lease)
			if err != nil || rec.ID != id {
				<-r.slots
				return sameRequest(whole, rec, input, err)
			}
			r.launch(d, rec.Clone())
			return rec, nil
		default:
		}
	}
	rec, err := r.cfg.Store.Insert(ctx, n, 0)
	if err == nil && rec.Status == Pending {
		r.nudge()
	}
	return sameRequest(whole, rec, input, err)
}

// scopeOf decides the scope of an execution: said, else the context's.
func scopeOf(ctx context.Context, said Scope) (Scope, error) {
	if said.Kind == scope.None {
		said = scope.From(ctx)
	}
	switch said.Kind {
	case scope.Global:
	case scope.Org:
		if !scope.ValidOrg(said.Org) {
			return said, ErrInvalidOrg
		}
	default:
		return said, ErrNoOrg
	}
	return said, checkRun(ctx, said)
}

// checkRun refuses what a run asks for another scope than its own. It is stricter
// than Run.MayRead: a run may read the global connections, but a global run could
// read everybody's.
func checkRun(ctx context.Context, s Scope) error {
	run := scope.RunFrom(ctx)
	if run != nil && !run.CrossOrg && run.Scope.Kind != scope.Global && run.Scope != s {
		return ErrForbiddenOrg
	}
	return nil
}

// enter makes Close wait until the caller says r.work.Done.
func (r *Registry) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case stateNew:
		return ErrNotStarted
	case stateClosed:
		return ErrClosed
	}
	r.work.Add(1)
	return nil
}

// newWatch makes the id of a new execution, and a channel that is closed when it
// ends in this process.
func newWatch(r *Registry) (id string, done chan struct{}, err error) {
	u, err := uuid.NewV7()
	if err != nil {
		return "", nil, fmt.Errorf("workflow: no randomness for an id: %w", err)
	}
	return u.String(), r.watch(u.String()), nil
}

func (r *Registry) watch(id string) chan struct{} {
	done := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[id] = append(r.waiting[id], done)
	return done
}

func (r *Registry) unwatch(id string, done chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := slices.DeleteFunc(r.waiting[id], func(w chan struct{}) bool { return w == done })
	if len(left) == 0 {
		delete(r.waiting, id)
	} else {
		r.waiting[id] = left
	}
}

// await returns the execution when it is finished. If ctx ends with cause
// errWaited, or the registry closes, it returns the record as it is by then; if
// the caller left, the last known one and why.
func (r *Registry) await(ctx context.Context, rec *Record, done <-chan struct{}) (*Record, error) {
	poll := time.NewTicker(awaitPoll)
	defer poll.Stop()
	for {
		select {
		case <-done:
			done = nil // handed back or taken over perhaps: then others finish it
		case <-poll.C:
			if r.isRunning(rec.ID) {
				continue
			}
		case <-r.closed:
			return r.latest(ctx, rec)
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errWaited) {
				return r.latest(ctx, rec)
			}
			return rec, ctx.Err()
		}
		now, err := r.latest(ctx, rec)
		if err != nil || now.Status.Finished() {
			return now, err
		}
		rec = now
	}
}

func (r *Registry) isRunning(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs[id] != nil
}

// latest reads a record again; if that fails, it returns it as it was as well.
func (r *Registry) latest(ctx context.Context, rec *Record) (*Record, error) {
	whole := context.WithoutCancel(ctx) // and if it fails, it is not because of the caller
	ctx, cancel := context.WithTimeout(whole, storeTimeout)
	defer cancel()
	now, err := r.cfg.Store.Get(ctx, rec.ID)
	if err != nil {
		return rec, stored(whole, err)
	}
	return now, nil
}
