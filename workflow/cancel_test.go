package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func TestCancelRunning(t *testing.T) {
	for name, tt := range map[string]struct {
		end     func(ctx context.Context) (any, error)
		status  workflow.Status
		message string
	}{
		"returns its error": {func(ctx context.Context) (any, error) { return nil, ctx.Err() }, workflow.Cancelled, "cancelled: context canceled"},
		"says more": {func(ctx context.Context) (any, error) {
			return nil, fmt.Errorf("at page 3 of canary: %w", context.Cause(ctx))
		}, workflow.Cancelled, "cancelled: at page 3 of [REDACTED]: workflow: the execution was cancelled"},
		"ignores it": {func(context.Context) (any, error) { time.Sleep(time.Hour); return 1, nil }, workflow.Cancelled,
			"cancelled, and goes on, because it ignores its context"},
		"was done":         {func(context.Context) (any, error) { return 1, nil }, workflow.Succeeded, ""},
		"panics, no retry": {func(context.Context) (any, error) { panic("no") }, workflow.Cancelled, "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, workflow.Config{})
				workflow.MustRegister(r, "work", func(ctx context.Context, _ struct{}) (any, error) {
					tell(ctx, "canary")
					<-ctx.Done()
					time.Sleep(time.Millisecond) // not before the second Cancel
					return tt.end(ctx)
				}, workflow.Retries(5))
				rec, err := r.Execute(t.Context(), "work", async(``))
				require.NoError(t, err)
				synctest.Wait()
				for range 2 {
					got, err := r.Cancel(t.Context(), rec.ID)
					require.NoError(t, err)
					require.Equal(t, workflow.Cancelling, got.Status)
				}
				time.Sleep(time.Second) // more than what a function gets to return
				synctest.Wait()
				got := get(t, r, rec.ID)
				assert.Equal(t, tt.status, got.Status)
				assert.Equal(t, 1, got.Attempt, "it is not tried again")
				if tt.message != "" {
					assert.Equal(t, &workflow.Failure{Code: workflow.CodeCancelled, Message: tt.message}, got.Error)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// A run in another process stops with that one's next heartbeat.
func TestCancelElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := workflow.NewMemory()
		a := start(t, workflow.Config{Store: shared})
		b := newRegistry(t, workflow.Config{Store: shared}) // runs nothing
		defer b.Close()
		w := workflow.MustRegister(a, "work", until, workflow.Retries(3))
		ex, err := w.Execute(t.Context(), "org-1", struct{}{})
		require.NoError(t, err)
		synctest.Wait()
		began := time.Now()
		got, err := b.Cancel(t.Context(), ex.ID())
		require.NoError(t, err)
		require.Equal(t, workflow.Cancelling, got.Status)
		_, err = ex.Result(t.Context())
		var failed *workflow.RunError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, workflow.Cancelled, failed.Status)
		assert.Equal(t, workflow.CodeCancelled, failed.ErrorCode())
		assert.Less(t, time.Since(began), 2*time.Second, "a third of a lease")
	})
}

// The function failed by itself before its process heard of the cancellation.
func TestCancelBeatsRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := workflow.NewMemory()
		a := start(t, workflow.Config{Store: shared})
		b := newRegistry(t, workflow.Config{Store: shared})
		defer b.Close()
		workflow.MustRegister(a, "work", func(context.Context, struct{}) (any, error) {
			time.Sleep(time.Second)
			return nil, errors.New("no")
		}, workflow.Retries(3))
		rec, err := a.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		synctest.Wait()
		_, err = b.Cancel(t.Context(), rec.ID)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := get(t, b, rec.ID)
		assert.Equal(t, workflow.Cancelled, got.Status)
		assert.Equal(t, 1, got.Attempt)
		logs, err := b.Logs(t.Context(), rec.ID)
		require.NoError(t, err)
		assert.Len(t, logs, 1, "what it failed with is in the log")
	})
}

func TestCancelWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{Workers: 1})
		workflow.MustRegister(r, "block", until)
		workflow.MustRegister(r, "fail", func(context.Context, struct{}) (any, error) { return nil, errors.New("no") }, workflow.Retries(1))
		inBackOff, err := r.Execute(t.Context(), "fail", async(``))
		require.NoError(t, err)
		synctest.Wait()
		_, err = r.Execute(t.Context(), "block", async(``))
		require.NoError(t, err)
		synctest.Wait()
		pending, err := r.Execute(t.Context(), "fail", async(``))
		require.NoError(t, err)
		for id, was := range map[string]workflow.Status{inBackOff.ID: workflow.Scheduled, pending.ID: workflow.Pending} {
			require.Equal(t, was, get(t, r, id).Status)
			for range 2 {
				got, err := r.Cancel(t.Context(), id)
				require.NoError(t, err)
				assert.Equal(t, workflow.Cancelled, got.Status)
				assert.Equal(t, workflow.CodeCancelled, got.Error.Code)
			}
		}
	})
}

// A process dies while it stops a run: another one finishes it without running it.
func TestCancelledRunOfADeadProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := workflow.NewMemory()
		id := "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8"
		_, err := m.Insert(t.Context(), &workflow.Record{ID: id, Workflow: "work", Scope: workflow.Global(), Input: []byte(`{}`)}, time.Second)
		require.NoError(t, err)
		r := start(t, workflow.Config{Store: m})
		workflow.MustRegister(r, "work", func(context.Context, struct{}) (any, error) {
			t.Error("it ran")
			return 1, nil
		})
		rec, err := r.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, workflow.Cancelling, rec.Status)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		rec = get(t, r, id)
		assert.Equal(t, workflow.Cancelled, rec.Status)
		assert.Contains(t, rec.Error.Message, "ended before it had stopped")
	})
}

// Closing hands back what still runs, but not what is being cancelled.
func TestCloseWhileCancelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := workflow.NewMemory()
		a := newRegistry(t, workflow.Config{Store: shared, CloseTimeout: time.Millisecond})
		b := newRegistry(t, workflow.Config{Store: shared})
		defer b.Close()
		workflow.MustRegister(a, "work", until)
		require.NoError(t, a.Start(t.Context()))
		rec, err := a.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		synctest.Wait()
		_, err = b.Cancel(t.Context(), rec.ID) // a does not know yet
		require.NoError(t, err)
		require.NoError(t, a.Close())
		assert.Equal(t, workflow.Cancelled, get(t, b, rec.ID).Status)
	})
}

func TestCancelRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		workflow.MustRegister(r, "work", nothing)
		done, err := r.Execute(t.Context(), "work", request(``))
		require.NoError(t, err)
		rec, err := r.Cancel(t.Context(), done.ID)
		require.ErrorIs(t, err, workflow.ErrFinished)
		assert.Equal(t, workflow.Succeeded, rec.Status)
		for _, id := range []string{"", "x", "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8"} {
			_, err = r.Cancel(t.Context(), id)
			require.ErrorIs(t, err, workflow.ErrNotFound)
		}
		// A run reaches its own organization's only.
		other := workflow.MustRegister(r, "other", func(ctx context.Context, _ struct{}) (any, error) {
			return r.Cancel(ctx, done.ID)
		})
		ex, err := other.Execute(t.Context(), "org-2", struct{}{})
		require.NoError(t, err)
		_, err = ex.Result(t.Context())
		require.ErrorContains(t, err, workflow.ErrForbiddenOrg.Error())
	})
}
