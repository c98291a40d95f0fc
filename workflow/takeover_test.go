package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

var errBroken = errors.New("the store is broken")

// faulty is a store that can be switched off, as for a process that is cut off
// or suspended.
type faulty struct {
	workflow.Store
	broken atomic.Bool
}

func (f *faulty) fail() error {
	if f.broken.Load() {
		return errBroken
	}
	return nil
}

func (f *faulty) Insert(ctx context.Context, r *workflow.Record, lease time.Duration) (*workflow.Record, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	return f.Store.Insert(ctx, r, lease)
}

func (f *faulty) Claim(ctx context.Context, c workflow.Claim) (*workflow.Record, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	return f.Store.Claim(ctx, c)
}

func (f *faulty) Extend(ctx context.Context, runs []workflow.Fence, lease time.Duration) (lost, cancelling []workflow.Fence, err error) {
	if err := f.fail(); err != nil {
		return nil, nil, err
	}
	return f.Store.Extend(ctx, runs, lease)
}

func (f *faulty) Finish(ctx context.Context, run workflow.Fence, o workflow.Outcome) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.Store.Finish(ctx, run, o)
}

func (f *faulty) Release(ctx context.Context, run workflow.Fence, logs []workflow.Log) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.Store.Release(ctx, run, logs)
}

func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := workflow.NewMemory()
		cutOff := &faulty{Store: shared}
		a, b := start(t, workflow.Config{Store: cutOff}), start(t, workflow.Config{Store: shared})
		var causes []error
		workflow.MustRegister(a, "work", func(ctx context.Context, _ struct{}) (string, error) {
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			return "from a", nil
		})
		rec, err := a.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, workflow.Running, get(t, a, rec.ID).Status)
		workflow.MustRegister(b, "work", func(ctx context.Context, _ struct{}) (string, error) {
			time.Sleep(time.Minute)
			return fmt.Sprint("from b, attempt ", workflow.Attempt(ctx)), nil
		})

		time.Sleep(time.Minute)
		require.Equal(t, 1, get(t, a, rec.ID).Attempt, "while a lives, b leaves it alone")

		cutOff.broken.Store(true)
		time.Sleep(6 * time.Second) // lease and poll
		synctest.Wait()
		taken := get(t, b, rec.ID)
		assert.Equal(t, 2, taken.Attempt)
		assert.Equal(t, 1, taken.Takeovers)
		assert.Empty(t, causes, "a cannot know yet")

		cutOff.broken.Store(false)
		time.Sleep(2 * time.Second) // a third of a lease
		synctest.Wait()
		require.Len(t, causes, 1)
		assert.ErrorContains(t, causes[0], "took the run over")

		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, `"from b, attempt 2"`, string(get(t, a, rec.ID).Result))
	})
}

// Result and a synchronous Execute see the end of a run in another process.
func TestWaitingForAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := workflow.NewMemory()
		a, b := start(t, workflow.Config{Store: shared, Workers: 1}), start(t, workflow.Config{Store: shared})
		for _, r := range []*workflow.Registry{a, b} {
			workflow.MustRegister(r, "sum", sum)
		}
		workflow.MustRegister(a, "block", until)
		blocker, err := a.Execute(t.Context(), "block", async(``))
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, workflow.Running, get(t, a, blocker.ID).Status)

		began := time.Now()
		rec, err := a.Execute(t.Context(), "sum", request(`{"a":1,"b":1}`))
		require.NoError(t, err)
		assert.Equal(t, workflow.Succeeded, rec.Status)
		assert.LessOrEqual(t, time.Since(began), 1250*time.Millisecond, "b's poll and a's look")
	})
}

func TestOnlyRegisteredWorkflowsAreClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := workflow.NewMemory()
		a, b := start(t, workflow.Config{Store: shared, Workers: 1}), start(t, workflow.Config{Store: shared})
		workflow.MustRegister(a, "block", until)
		workflow.MustRegister(a, "work", nothing)
		_, err := a.Execute(t.Context(), "block", async(``))
		require.NoError(t, err)
		synctest.Wait()
		rec, err := a.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, workflow.Pending, get(t, a, rec.ID).Status)
		workflow.MustRegister(b, "work", nothing) // while it is running
		synctest.Wait()
		assert.Equal(t, workflow.Succeeded, get(t, a, rec.ID).Status)
	})
}

// A run that kills its process each time is given up in the end.
func TestRunThatKillsItsProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := workflow.NewMemory()
		id := "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8"
		_, err := m.Insert(t.Context(), &workflow.Record{ID: id, Workflow: "work", Scope: workflow.Global(), Input: []byte(`{}`)}, time.Second)
		require.NoError(t, err)
		for range 5 {
			time.Sleep(time.Second)
			rec, err := m.Claim(t.Context(), workflow.Claim{Workflows: []string{"work"}, Lease: time.Second})
			require.NoError(t, err)
			require.NotNil(t, rec)
		}
		r := start(t, workflow.Config{Store: m})
		workflow.MustRegister(r, "work", nothing)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		rec := get(t, r, id)
		assert.Equal(t, workflow.Failed, rec.Status)
		assert.Equal(t, workflow.CodeLost, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "ended 6 times")
	})
}

// Finish fails for longer than a lease: the outcome is recorded once the store
// works, and nobody runs it again.
func TestOutcomeSurvivesFaultsOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: workflow.NewMemory()}
		r := start(t, workflow.Config{Store: store})
		var calls atomic.Int32
		w := workflow.MustRegister(r, "work", func(context.Context, struct{}) (string, error) {
			calls.Add(1)
			store.broken.Store(true)
			return "done", nil
		})
		ex, err := w.Execute(t.Context(), "org-1", struct{}{})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		store.broken.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		got, err := ex.Result(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "done", got)
		assert.EqualValues(t, 1, calls.Load())
	})
}

func TestStoreFaultOnSubmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: workflow.NewMemory()}
		r := start(t, workflow.Config{Store: store, Workers: 1})
		workflow.MustRegister(r, "work", nothing)
		store.broken.Store(true)
		for range 3 {
			for _, req := range []workflow.ExecuteRequest{request(``), async(``)} {
				_, err := r.Execute(t.Context(), "work", req)
				require.ErrorIs(t, err, errBroken)
			}
		}
		store.broken.Store(false)
		rec, err := r.Execute(t.Context(), "work", request(``))
		require.NoError(t, err)
		assert.Equal(t, workflow.Succeeded, rec.Status, "no worker was lost")
	})
}

// A claim that was written although it reported an error is found again.
func TestClaimOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := workflow.NewMemory()
		r := newRegistry(t, workflow.Config{Store: &halfClaim{Store: m}})
		workflow.MustRegister(r, "work", nothing)
		require.NoError(t, r.Start(t.Context()))
		defer r.Close()
		rec, err := r.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		time.Sleep(7 * time.Second)
		synctest.Wait()
		got := get(t, r, rec.ID)
		assert.Equal(t, workflow.Succeeded, got.Status)
		assert.Equal(t, 2, got.Attempt)
	})
}

type halfClaim struct {
	workflow.Store
	done bool
}

func (h *halfClaim) Claim(ctx context.Context, c workflow.Claim) (*workflow.Record, error) {
	rec, err := h.Store.Claim(ctx, c)
	if rec != nil && !h.done {
		h.done = true
		return nil, errBroken
	}
	return rec, err
}
