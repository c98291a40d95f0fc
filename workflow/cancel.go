package workflow

import "context"

// Cancel ends an execution early. One that waits, for a worker, its time or another
// try, is Cancelled at once. One that runs is Cancelling, and the context of its
// function ends: at once in this process, in another one within a third of its
// Config.Lease. When the function has returned, or half a second later, it is
// Cancelled; unless it finished its work all the same, and then it Succeeded. What
// the function has done by then stays done.
//
// Cancel returns the execution as it is then. Cancelling twice is no error. Errors:
// [ErrNotFound], [ErrFinished] with the execution for one that ended in another
// way, [ErrForbiddenOrg], and faults of the store. It works before
// [Registry.Start], too.
func (r *Registry) Cancel(ctx context.Context, id string) (*Record, error) {
	rec, err := r.Execution(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := checkRun(ctx, rec.Scope); err != nil {
		return nil, err
	}
	rec, err = r.cfg.Store.Cancel(ctx, id, Failure{CodeCancelled, "cancelled before it ran to its end"})
	if err != nil {
		return nil, stored(ctx, err)
	}
	if rec.Status == Cancelling {
		r.mu.Lock()
		// A run that begins here at this moment learns of it from its heartbeat.
		if x := r.runs[id]; x != nil && x.fence.Attempt == rec.Attempt {
			x.cancel(errCancelled)
		}
		r.mu.Unlock()
	}
	if rec.Status.Finished() && rec.Status != Cancelled {
		return rec, ErrFinished
	}
	return rec, nil
}
