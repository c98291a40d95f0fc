package workflow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reasons why the context of a run ends early; context.Cause returns them.
var (
	errTimedOut  = errors.New("workflow: the run's timeout passed")
	errTakenOver = errors.New("workflow: another process took the run over")
	errCancelled = errors.New("workflow: the execution was cancelled")
	errClosing   = errors.New("workflow: closing; the run is handed back to be run again")
	errWaited    = errors.New("workflow: waited long enough")
)

// Start begins to run what is queued, and returns at once. When ctx ends, nothing
// more is taken from the queue; everything else goes on until [Registry.Close].
// Values of ctx are visible to runs.
func (r *Registry) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case stateStarted:
		return errors.New("workflow: Start was called already")
	case stateClosed:
		return ErrClosed
	}
	r.state = stateStarted
	r.base = context.WithoutCancel(ctx)
	r.claims, r.stop = context.WithCancel(ctx)
	r.work.Go(r.dispatch)
	r.beats.Go(r.heartbeat)
	return nil
}

// Close ends the registry and waits, at most Config.CloseTimeout, for what is
// running; see [Registry.Shutdown]. It is idempotent.
func (r *Registry) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.CloseTimeout)
	defer cancel()
	return r.Shutdown(ctx)
}

// Shutdown takes no more executions and waits for the running ones. When ctx
// ends, the contexts of those that are left are cancelled, and what does not
// succeed then is handed back: it is pending again, for another process or the
// next start. A function that ignores its context may overlap with its own next
// attempt, until the process exits.
//
// An error means that some run could be neither recorded nor handed back; it is
// taken up again when its lease has run out. Later calls wait for the first and
// return the same.
func (r *Registry) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	before := r.state
	r.state = stateClosed
	r.mu.Unlock()
	switch before {
	case stateClosed:
		<-r.closed
		return r.closing
	case stateNew:
		close(r.closed)
		return nil
	}
	r.stop()
	r.work.Wait() // from here on no run begins
	recorded := make(chan struct{})
	go func() {
		r.running.Wait()
		close(recorded)
	}()
	select {
	case <-recorded:
	case <-ctx.Done():
		r.cancelAll()
		<-recorded
	}
	close(r.quit)
	r.beats.Wait()
	if n := r.unrecorded.Load(); n > 0 {
		r.closing = fmt.Errorf("workflow: %d executions could be neither recorded nor handed back; they run again when their leases have run out", n)
	}
	close(r.closed)
	return r.closing
}

// cancelAll ends the context of every run. Each is recorded or handed back by
// its own goroutine, within grace + storeTimeout.
func (r *Registry) cancelAll() {
	close(r.hurry)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.runs {
		x.cancel(errClosing)
	}
}

// dispatch claims what is queued whenever there is a free slot.
func (r *Registry) dispatch() {
	poll := time.NewTimer(r.cfg.Poll)
	defer poll.Stop()
	for {
		// Blocking for the slot first gives the queue its turn when executions that
		// are submitted meanwhile would take every slot that becomes free.
		select {
		case r.slots <- struct{}{}:
		case <-r.claims.Done():
			return
		}
		if r.claims.Err() != nil { // select picks either when both are ready
			<-r.slots
			return
		}
		if r.claimOne() {
			continue
		}
		<-r.slots
		poll.Reset(r.cfg.Poll)
		select {
		case <-r.wake:
		case <-poll.C:
		case <-r.claims.Done():
			return
		}
	}
}

// claimOne runs the next execution, in the slot that the caller took, and
// reports whether there was one.
func (r *Registry) claimOne() bool {
	workflows, executions := r.names()
	if len(workflows) == 0 {
		return false
	}
	// Not r.claims: a claim that is cut off may have happened all the same.
	ctx, cancel := context.WithTimeout(r.base, storeTimeout)
	defer cancel()
	rec, err := r.cfg.Store.Claim(ctx, Claim{Workflows: workflows, Except: executions, Lease: r.cfg.Lease})
	if err != nil {
		r.log.ErrorContext(ctx, "workflow: cannot look for queued executions", "error", err)
		return false
	}
	if rec == nil {
		return false
	}
	r.launch(r.definition(rec.Workflow), rec)
	return true
}

// heartbeat extends the leases of what runs here, and stores log lines.
func (r *Registry) heartbeat() {
	beat := time.NewTicker(max(r.cfg.Lease/3, time.Millisecond))
	defer beat.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-beat.C:
			r.beat()
		}
	}
}

func (r *Registry) beat() {
	r.mu.Lock()
	runs := make(map[Fence]*run, len(r.runs))
	var fences []Fence
	for _, x := range r.runs {
		runs[x.fence] = x
		fences = append(fences, x.fence)
	}
	r.mu.Unlock()
	if len(fences) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(r.base, storeTimeout)
	defer cancel()
	lost, cancelling, err := r.cfg.Store.Extend(ctx, fences, r.cfg.Lease)
	if err != nil {
		r.log.ErrorContext(ctx, "workflow: cannot extend leases; other processes may take the runs over", "runs", len(fences), "error", err)
		return
	}
	for _, f := range lost {
		runs[f].cancel(errTakenOver) // no effect on one that ended meanwhile
		delete(runs, f)
	}
	for _, f := range cancelling {
		runs[f].cancel(errCancelled)
	}
	for f, x := range runs {
		x.logs.flush(func(lines []Log) error { return r.cfg.Store.Append(ctx, f, lines) })
	}
}
