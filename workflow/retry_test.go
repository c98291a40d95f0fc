package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		var began []time.Time
		w := workflow.MustRegister(r, "work", func(ctx context.Context, _ struct{}) (int, error) {
			began = append(began, time.Now())
			tell(ctx, "canary")
			if len(began) < 4 {
				return 0, errors.New("down, says canary")
			}
			return workflow.Attempt(ctx), nil
		}, workflow.Retries(3))
		info, _ := r.Get("work")
		require.Equal(t, 3, info.Retries)

		ex, err := w.Execute(t.Context(), "org-1", struct{}{})
		require.NoError(t, err)
		synctest.Wait()
		rec := get(t, r, ex.ID())
		assert.Equal(t, workflow.Scheduled, rec.Status)
		assert.Equal(t, &workflow.Failure{Code: "error", Message: "down, says [REDACTED]"}, rec.Error)
		assert.WithinRange(t, rec.RunAt, began[0].Add(time.Second), began[0].Add(1250*time.Millisecond))

		got, err := ex.Result(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 4, got)
		rec = get(t, r, ex.ID())
		assert.Equal(t, workflow.Succeeded, rec.Status)
		assert.Nil(t, rec.Error)
		assert.Equal(t, []int{4, 3, 0}, []int{rec.Attempt, rec.Retries, rec.Takeovers})
		for i, delay := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			assert.WithinRange(t, began[i+1], began[i].Add(delay), began[i].Add(delay*5/4+time.Second), "a quarter and a poll more")
		}
		logs, err := r.Logs(t.Context(), ex.ID())
		require.NoError(t, err)
		require.Len(t, logs, 3, "the log keeps why each try failed")
		assert.Contains(t, logs[0].Message, "trying again")
		assert.Contains(t, string(logs[0].Attrs), `"error":"down, says [REDACTED]"`)
	})
}

// Retries come to an end, and what a retry cannot heal is not retried.
func TestRetriesEnd(t *testing.T) {
	wide := strings.Repeat("x", 5<<20)
	for name, tt := range map[string]struct {
		run      func(ctx context.Context) (any, error)
		status   workflow.Status
		code     string
		attempts int
	}{
		"error":       {func(context.Context) (any, error) { return nil, errors.New("no") }, workflow.Failed, "error", 3},
		"panic":       {func(context.Context) (any, error) { panic("no") }, workflow.Failed, "panic", 3},
		"timeout":     {func(ctx context.Context) (any, error) { <-ctx.Done(); return nil, ctx.Err() }, workflow.TimedOut, "timeout", 3},
		"still at it": {func(context.Context) (any, error) { time.Sleep(time.Hour); return nil, nil }, workflow.TimedOut, "timeout", 1},
		"permanent":   {func(context.Context) (any, error) { return nil, workflow.Permanent(errors.New("no")) }, workflow.Failed, "error", 1},
		"no JSON":     {func(context.Context) (any, error) { return make(chan int), nil }, workflow.Failed, "result", 1},
		"wide result": {func(context.Context) (any, error) { return wide, nil }, workflow.Failed, "result", 1},
		"wrapped": {func(context.Context) (any, error) {
			return nil, fmt.Errorf("a: %w", workflow.Permanent(errors.New("no")))
		}, workflow.Failed, "error", 1},
		"no permanent": {func(context.Context) (any, error) { return 1, workflow.Permanent(nil) }, workflow.Succeeded, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, workflow.Config{})
				workflow.MustRegister(r, "work", func(ctx context.Context, _ struct{}) (any, error) { return tt.run(ctx) },
					workflow.Retries(2), workflow.Timeout(time.Minute))
				rec, err := r.Execute(t.Context(), "work", async(``))
				require.NoError(t, err)
				time.Sleep(time.Hour)
				synctest.Wait()
				rec = get(t, r, rec.ID)
				assert.Equal(t, tt.status, rec.Status)
				assert.Equal(t, tt.attempts, rec.Attempt)
				assert.Equal(t, tt.attempts-1, rec.Retries)
				if tt.code != "" {
					require.NotNil(t, rec.Error)
					assert.Equal(t, tt.code, rec.Error.Code)
				}
			})
		})
	}
}

// Back-off is in the store: the process that failed may be gone.
func TestRetryInAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := workflow.NewMemory()
		a, b := newRegistry(t, workflow.Config{Store: shared}), newRegistry(t, workflow.Config{Store: shared})
		workflow.MustRegister(a, "work", func(context.Context, struct{}) (string, error) { return "", errors.New("no") }, workflow.Retries(1))
		workflow.MustRegister(b, "work", func(context.Context, struct{}) (string, error) { return "from b", nil }, workflow.Retries(1))
		require.NoError(t, a.Start(t.Context()))
		rec, err := a.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, a.Close())
		require.NoError(t, b.Start(t.Context()))
		defer b.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		assert.Equal(t, `"from b"`, string(get(t, b, rec.ID).Result))
	})
}

// A crash takes nothing from the retries, and a run that is handed back neither.
func TestTakeoverIsNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := workflow.NewMemory()
		_, err := m.Insert(t.Context(), &workflow.Record{
			ID: "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8", Workflow: "work", Scope: workflow.Global(), Input: []byte(`{}`),
		}, time.Nanosecond)
		require.NoError(t, err)
		time.Sleep(time.Second)
		r := start(t, workflow.Config{Store: m})
		workflow.MustRegister(r, "work", func(context.Context, struct{}) (any, error) { return nil, errors.New("no") }, workflow.Retries(1))
		time.Sleep(time.Minute)
		synctest.Wait()
		rec := get(t, r, "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8")
		assert.Equal(t, workflow.Failed, rec.Status)
		assert.Equal(t, []int{3, 1, 1}, []int{rec.Attempt, rec.Retries, rec.Takeovers})
	})
}

func TestRetriesAreChecked(t *testing.T) {
	r := newRegistry(t, workflow.Config{})
	for _, n := range []int{-1, 101} {
		_, err := workflow.Register(r, "work", nothing, workflow.Retries(n))
		require.ErrorContains(t, err, "retries of work must be 0 to 100")
	}
	assert.Equal(t, "no", workflow.Permanent(errors.New("no")).Error())
	assert.ErrorIs(t, workflow.Permanent(context.Canceled), context.Canceled)
}
