package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/workflow"
)

type sumIn struct {
	A int `json:"a"`
	B int `json:"b"`
}

type sumOut struct {
	Sum int `json:"sum"`
}

func sum(_ context.Context, in sumIn) (sumOut, error) { return sumOut{in.A + in.B}, nil }

// until blocks until its context ends, which it returns.
func until(ctx context.Context, _ struct{}) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSynchronous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		workflow.MustRegister(r, "sum", sum)
		req := request(` { "a": 1, "b": 2 } `)
		req.Principal = "alice"
		rec, err := r.Execute(t.Context(), "sum", req)
		require.NoError(t, err)
		assert.Equal(t, workflow.Succeeded, rec.Status)
		assert.Equal(t, `{"a":1,"b":2}`, string(rec.Input))
		assert.Equal(t, `{"sum":3}`, string(rec.Result))
		assert.Equal(t, 1, rec.Attempt)
		assert.Equal(t, "alice", rec.Principal)
		assert.Nil(t, rec.Error)
		assert.Equal(t, rec, get(t, r, rec.ID))
	})
}

// leaving is a store whose caller goes away while an execution is being stored.
type leaving struct {
	workflow.Store
	leave context.CancelFunc
}

func (s leaving) Insert(ctx context.Context, r *workflow.Record, lease time.Duration) (*workflow.Record, error) {
	s.leave()
	return s.Store.Insert(ctx, r, lease)
}

// Half stored would be an execution that nobody knows of.
func TestWhoLeavesWhileItIsStoredLeavesAnExecution(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := start(t, workflow.Config{Store: leaving{workflow.NewMemory(), cancel}})
	workflow.MustRegister(r, "work", nothing)
	rec, err := r.Execute(ctx, "work", async(``))
	require.NoError(t, err)
	assert.Equal(t, workflow.Pending, rec.Status)
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestAsynchronous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		workflow.MustRegister(r, "sum", sum)
		rec, err := r.Execute(t.Context(), "sum", async(`{"a":1,"b":2}`))
		require.NoError(t, err)
		assert.Equal(t, workflow.Pending, rec.Status)
		before := time.Now()
		synctest.Wait()
		assert.Equal(t, before, time.Now(), "it was woken, not polled for")
		assert.Equal(t, `{"sum":3}`, string(get(t, r, rec.ID).Result))
	})
}

func TestTyped(t *testing.T) {
	r := start(t, workflow.Config{})
	w := workflow.MustRegister(r, "sum", sum)
	ex, err := w.Execute(t.Context(), "org-1", sumIn{2, 3})
	require.NoError(t, err)
	out, err := ex.Result(t.Context())
	require.NoError(t, err)
	assert.Equal(t, sumOut{5}, out)
	again, err := ex.Result(t.Context())
	require.NoError(t, err)
	assert.Equal(t, out, again)

	bad := workflow.MustRegister(r, "bad", func(context.Context, float64) (int, error) { return 0, nil })
	_, err = bad.Execute(t.Context(), "org-1", math.NaN())
	require.ErrorContains(t, err, "not JSON")
}

// What the function is given.
func TestRunContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, workflow.Config{Context: func(ctx context.Context) context.Context {
			return scope.WithRegistry(ctx, "the registry")
		}})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "from Start"))
		require.NoError(t, r.Start(ctx))
		cancel() // ends the taking of queued work only
		defer r.Close()
		var rec *workflow.Record
		workflow.MustRegister(r, "look", func(ctx context.Context, _ struct{}) (string, error) {
			run := scope.RunFrom(ctx)
			deadline, ok := ctx.Deadline()
			return fmt.Sprintln(run.Workflow, run.ExecutionID == workflow.ExecutionID(ctx), workflow.Attempt(ctx),
				run.Scope, run.CrossOrg, scope.From(ctx), scope.Registry(ctx), ctx.Value(key{}), time.Until(deadline), ok), ctx.Err()
		}, workflow.CrossOrg(), workflow.Timeout(time.Minute))
		rec, err := r.Execute(t.Context(), "look", request(``))
		require.NoError(t, err)
		assert.JSONEq(t, `"look true 1 {1 org-1} true {1 org-1} the registry from Start 1m0s true\n"`, string(rec.Result), "%+v", rec.Error)
		assert.Empty(t, workflow.ExecutionID(ctx))
		assert.Zero(t, workflow.Attempt(ctx))
		assert.NotNil(t, workflow.Logger(ctx))
	})
}

type coded struct{ code string }

func (c coded) Error() string     { return "it went wrong" }
func (c coded) ErrorCode() string { return c.code }

type awkward struct{}

func (*awkward) Error() string { panic("in Error") }

func TestFailures(t *testing.T) {
	r := start(t, workflow.Config{})
	tests := []struct {
		name          string
		fn            func() (any, error)
		code, message string
	}{
		{"error", func() (any, error) { return 1, errors.New("no luck") }, "error", "no luck"},
		{"code", func() (any, error) { return nil, coded{"quota"} }, "quota", "it went wrong"},
		{"wrapped code", func() (any, error) { return nil, fmt.Errorf("at last: %w", coded{"quota"}) }, "quota", "at last: it went wrong"},
		{"empty code", func() (any, error) { return nil, coded{} }, "error", "it went wrong"},
		{"long", func() (any, error) { return nil, errors.New(strings.Repeat("é", 5000)) }, "error", strings.Repeat("é", 2046) + "…"},
		{"not UTF-8", func() (any, error) { return nil, errors.New("a\xffb") }, "error", "a\uFFFDb"},
		{"panic", func() (any, error) { panic("oh") }, "panic", "panic: oh"},
		{"panic with an error", func() (any, error) { panic(errors.New("oh")) }, "panic", "panic: oh"},
		{"panic elsewhere", func() (any, error) { return strings.Repeat("x", -1), nil }, "panic", "panic: strings: negative Repeat count"},
		{"Goexit", func() (any, error) { runtime.Goexit(); return nil, nil }, "panic", "the function called runtime.Goexit"},
		{"error that panics", func() (any, error) { return nil, &awkward{} }, "panic", "panic: in Error"},
		{"not JSON", func() (any, error) { return math.Inf(1), nil }, "result", "the result is not JSON: json: unsupported value: +Inf"},
		{"channel", func() (any, error) { return make(chan int), nil }, "result", "the result is not JSON: json: unsupported type: chan int"},
		{"too large", func() (any, error) { return strings.Repeat("x", 4<<20), nil }, "result", "the result has 4194306 bytes of JSON, more than 4194304"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := workflow.MustRegister(r, fmt.Sprintf("w%d", i), func(context.Context, struct{}) (any, error) { return tt.fn() })
			ex, err := w.Execute(t.Context(), "org-1", struct{}{})
			require.NoError(t, err)
			_, err = ex.Result(t.Context())
			var failed *workflow.RunError
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, workflow.Failed, failed.Status)
			assert.Equal(t, workflow.Failure{Code: tt.code, Message: tt.message}, failed.Failure)
			assert.Equal(t, tt.code, failed.ErrorCode())
			assert.Contains(t, err.Error(), ex.ID())
			assert.Nil(t, get(t, r, ex.ID()).Result)
		})
	}
	workflow.MustRegister(r, "after", nothing)
	rec, err := r.Execute(t.Context(), "after", request(``))
	require.NoError(t, err)
	assert.Equal(t, workflow.Succeeded, rec.Status, "and the registry works on")
}

func TestPanicStackGoesToTheLoggerOnly(t *testing.T) {
	var out output
	r := start(t, workflow.Config{Logger: out.logger()})
	workflow.MustRegister(r, "work", func(ctx context.Context, _ struct{}) (any, error) {
		tell(ctx, "canary-secret-1")
		panic("with canary-secret-1")
	})
	rec, err := r.Execute(t.Context(), "work", request(``))
	require.NoError(t, err)
	assert.Equal(t, &workflow.Failure{Code: "panic", Message: "panic: with [REDACTED]"}, rec.Error)
	assert.Contains(t, out.String(), "execute_test.go")
	assert.NotContains(t, out.String(), "canary-secret-1")
	logs, err := r.Logs(t.Context(), rec.ID)
	require.NoError(t, err)
	assert.Empty(t, logs)
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		workflow.MustRegister(r, "work", until, workflow.Timeout(3*time.Second))
		began := time.Now()
		rec, err := r.Execute(t.Context(), "work", request(``))
		require.NoError(t, err)
		assert.Equal(t, workflow.TimedOut, rec.Status)
		assert.Equal(t, &workflow.Failure{Code: "timeout", Message: "did not end within 3s: context deadline exceeded"}, rec.Error)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Equal(t, 3*time.Second, rec.Duration())
	})
}

func TestResultAfterTheTimeoutIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		workflow.MustRegister(r, "work", func(ctx context.Context, _ struct{}) (string, error) {
			<-ctx.Done()
			return "just made it", nil
		}, workflow.Timeout(time.Second))
		rec, err := r.Execute(t.Context(), "work", request(``))
		require.NoError(t, err)
		assert.Equal(t, workflow.Succeeded, rec.Status)
	})
}

// A function that ignores its context is finished in the history, keeps its
// worker, and gives it back when it returns.
func TestFunctionThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		r := start(t, workflow.Config{Workers: 1, Logger: out.logger()})
		release := make(chan struct{})
		workflow.MustRegister(r, "stubborn", func(ctx context.Context, _ struct{}) (string, error) {
			<-release
			workflow.Logger(ctx).Info("too late to be stored")
			return "too late", nil
		}, workflow.Timeout(time.Second))
		workflow.MustRegister(r, "work", nothing)
		rec, err := r.Execute(t.Context(), "stubborn", request(``))
		require.NoError(t, err)
		assert.Equal(t, workflow.TimedOut, rec.Status)
		assert.Equal(t, "did not end within 1s, and goes on, because it ignores its context", rec.Error.Message)
		assert.Less(t, rec.Duration(), 2*time.Second)

		next, err := r.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.Equal(t, workflow.Pending, get(t, r, next.ID).Status)
		close(release)
		synctest.Wait()
		assert.Equal(t, workflow.Succeeded, get(t, r, next.ID).Status)
		assert.Equal(t, rec, get(t, r, rec.ID), "a late result changes nothing")
		logs, err := r.Logs(t.Context(), rec.ID)
		require.NoError(t, err)
		assert.Empty(t, logs)
		assert.Contains(t, out.String(), "too late to be stored")
	})
}

func TestSynchronousWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		workflow.MustRegister(r, "work", func(context.Context, struct{}) (string, error) {
			time.Sleep(2 * time.Minute)
			return "done", nil
		})
		began := time.Now()
		rec, err := r.Execute(t.Context(), "work", request(``))
		require.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(began))
		assert.Equal(t, workflow.Running, rec.Status)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, workflow.Succeeded, get(t, r, rec.ID).Status)
	})
}

func TestCallerLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		w := workflow.MustRegister(r, "work", func(ctx context.Context, _ struct{}) (string, error) {
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(10 * time.Second):
				return "done", nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		rec, err := r.Execute(ctx, "work", request(``))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotNil(t, rec, "the caller learns the id")
		assert.Equal(t, workflow.Running, rec.Status)

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ex, err := w.Execute(ctx, "org-1", struct{}{})
		require.NoError(t, err)
		_, err = ex.Result(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, workflow.Succeeded, get(t, r, rec.ID).Status)
		assert.Equal(t, workflow.Succeeded, get(t, r, ex.ID()).Status)
	})
}

// No more than Workers functions at a time; everything is run; direct submissions
// do not keep the queue from its turn.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{Workers: 3})
		var now, most atomic.Int32
		workflow.MustRegister(r, "work", func(context.Context, struct{}) (any, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for {
				m := most.Load()
				if n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			time.Sleep(time.Second)
			return nil, nil
		})
		var queued []string
		for range 9 {
			rec, err := r.Execute(t.Context(), "work", async(``))
			require.NoError(t, err)
			queued = append(queued, rec.ID)
		}
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for range 3 {
					rec, err := r.Execute(t.Context(), "work", request(``))
					assert.NoError(t, err)
					assert.Equal(t, workflow.Succeeded, rec.Status)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 3, most.Load())
		for _, id := range queued {
			assert.Equal(t, workflow.Succeeded, get(t, r, id).Status)
		}
	})
}
