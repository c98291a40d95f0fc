package workflow_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func TestDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		var began time.Time
		w := workflow.MustRegister(r, "work", func(context.Context, struct{}) (int, error) {
			began = time.Now()
			return 7, nil
		})
		at := time.Now().Add(time.Hour)
		ex, err := w.Execute(t.Context(), "org-1", struct{}{}, workflow.At(at))
		require.NoError(t, err)
		rec := get(t, r, ex.ID())
		assert.Equal(t, workflow.Scheduled, rec.Status)
		assert.True(t, rec.RunAt.Equal(at))
		got, err := ex.Result(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 7, got)
		assert.WithinRange(t, began, at, at.Add(time.Second), "a poll later at most")
		rec = get(t, r, ex.ID())
		assert.Equal(t, []int{1, 0}, []int{rec.Attempt, rec.Retries})
		assert.True(t, rec.RunAt.IsZero())

		for _, bad := range []time.Time{time.Now(), time.Now().Add(-time.Second), time.Unix(0, 0)} {
			req := async(``)
			req.RunAt = bad
			_, err = r.Execute(t.Context(), "work", req)
			require.ErrorIs(t, err, workflow.ErrInvalidRunAt)
		}
		sync := request(``)
		sync.RunAt = time.Now().Add(time.Hour)
		_, err = r.Execute(t.Context(), "work", sync)
		require.ErrorIs(t, err, workflow.ErrInvalidRunAt)
	})
}

func keyed(req workflow.ExecuteRequest, key string) workflow.ExecuteRequest {
	req.Key = key
	return req
}

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		var calls atomic.Int32
		slow := func(_ context.Context, in sumIn) (sumOut, error) {
			calls.Add(1)
			time.Sleep(time.Second)
			return sumOut{in.A + in.B}, nil
		}
		workflow.MustRegister(r, "work", slow)
		workflow.MustRegister(r, "other", slow)

		first, err := r.Execute(t.Context(), "work", keyed(async(`{"a":1,"b":2}`), "k"))
		require.NoError(t, err)
		assert.Equal(t, "k", first.Key)
		// Whether it runs or is finished, synchronous requests get its end, and the
		// order of members does not matter.
		for range 3 {
			rec, err := r.Execute(t.Context(), "work", keyed(request(` {"b":2, "a":1}`), "k"))
			require.NoError(t, err)
			assert.Equal(t, first.ID, rec.ID)
			assert.Equal(t, workflow.Succeeded, rec.Status)
		}
		assert.EqualValues(t, 1, calls.Load())
		for _, req := range []workflow.ExecuteRequest{request(`{"a":1,"b":3}`), async(`{"a":1,"b":3}`)} {
			_, err = r.Execute(t.Context(), "work", keyed(req, "k"))
			require.ErrorIs(t, err, workflow.ErrKeyReused)
		}
		assert.EqualValues(t, 1, calls.Load())
		_, err = r.Execute(t.Context(), "work", keyed(async(`{"a":9007199254740992,"b":1}`), "long"))
		require.NoError(t, err)
		_, err = r.Execute(t.Context(), "work", keyed(async(`{"a":9007199254740993,"b":1}`), "long"))
		require.ErrorIs(t, err, workflow.ErrKeyReused, "equal as floats only")

		rec, err := r.Execute(t.Context(), "other", keyed(request(`{"a":1,"b":2}`), "k"))
		require.NoError(t, err)
		assert.NotEqual(t, first.ID, rec.ID)
		other := keyed(request(`{"a":1,"b":2}`), "k")
		other.Scope = workflow.Org("org-2")
		rec, err = r.Execute(t.Context(), "work", other)
		require.NoError(t, err)
		assert.NotEqual(t, first.ID, rec.ID)
	})
}

// However many ask at once, under one key it runs once, and no worker is lost.
func TestKeyOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{Workers: 2})
		var calls atomic.Int32
		w := workflow.MustRegister(r, "work", func(context.Context, struct{}) (int32, error) {
			time.Sleep(time.Second)
			return calls.Add(1), nil
		})
		ids := make(chan string, 20)
		for range cap(ids) {
			go func() {
				ex, err := w.Execute(t.Context(), "org-1", struct{}{}, workflow.Key("once"))
				if !assert.NoError(t, err) {
					ids <- ""
					return
				}
				got, err := ex.Result(t.Context())
				assert.NoError(t, err)
				assert.EqualValues(t, 1, got)
				ids <- ex.ID()
			}()
		}
		seen := map[string]bool{}
		for range cap(ids) {
			seen[<-ids] = true
		}
		assert.Len(t, seen, 1)
		began := time.Now()
		for range 2 {
			_, err := w.Execute(t.Context(), "org-1", struct{}{})
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 3, calls.Load())
		assert.Equal(t, time.Second, time.Since(began), "both workers are there")
	})
}

func TestKeyForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		w := workflow.MustRegister(r, "work", nothing)
		for _, key := range []string{"k", "work@2026-11-22T10:00:00Z", "!~", strings.Repeat("k", 255)} {
			_, err := w.Execute(t.Context(), "org-1", struct{}{}, workflow.Key(key))
			require.NoError(t, err, key)
		}
		for _, key := range []string{"", " ", "a b", "a\n", "\x7f", "ä", strings.Repeat("k", 256)} {
			_, err := w.ExecuteGlobal(t.Context(), struct{}{}, workflow.Key(key))
			require.ErrorIs(t, err, workflow.ErrInvalidKey, key)
		}
		leak := workflow.MustRegister(r, "leak", func(ctx context.Context, _ struct{}) (any, error) {
			tell(ctx, "canary-secret")
			_, err := w.Execute(ctx, "org-1", struct{}{}, workflow.Key("x-canary-secret"))
			return nil, err
		})
		ex, err := leak.Execute(t.Context(), "org-1", struct{}{})
		require.NoError(t, err)
		_, err = ex.Result(t.Context())
		require.ErrorContains(t, err, "keys are stored")
	})
}

func TestRetryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		heal := false
		workflow.MustRegister(r, "work", func(_ context.Context, in sumIn) (int, error) {
			if !heal {
				return 0, errors.New("no")
			}
			return in.A, nil
		})
		failed, err := r.Execute(t.Context(), "work", keyed(request(`{"a":1,"b":2}`), "k"))
		require.NoError(t, err)
		require.Equal(t, workflow.Failed, failed.Status)
		heal = true
		again, err := r.Retry(t.Context(), failed.ID, "alice")
		require.NoError(t, err)
		synctest.Wait()
		assert.NotEqual(t, failed.ID, again.ID)
		got := get(t, r, again.ID)
		assert.Equal(t, workflow.Succeeded, got.Status)
		assert.Equal(t, "1", string(got.Result))
		assert.Equal(t, "alice", got.Principal)
		assert.Equal(t, failed.Scope, got.Scope)
		assert.Empty(t, got.Key)
		assert.Equal(t, failed, get(t, r, failed.ID), "history stays")

		_, err = r.Retry(t.Context(), again.ID, "alice")
		require.ErrorIs(t, err, workflow.ErrNotFailed)
		_, err = r.Retry(t.Context(), "nonsense", "alice")
		require.ErrorIs(t, err, workflow.ErrNotFound)

		later := async(`{"a":1,"b":2}`)
		later.RunAt = time.Now().Add(time.Hour)
		waits, err := r.Execute(t.Context(), "work", later)
		require.NoError(t, err)
		_, err = r.Retry(t.Context(), waits.ID, "alice")
		require.ErrorIs(t, err, workflow.ErrNotFailed)
		_, err = r.Cancel(t.Context(), waits.ID)
		require.NoError(t, err)
		_, err = r.Retry(t.Context(), waits.ID, "alice")
		require.NoError(t, err)
	})
}
