package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func TestCloseWaitsForRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := workflow.NewMemory()
		r := newRegistry(t, workflow.Config{Store: m, Workers: 1})
		require.NoError(t, r.Start(t.Context()))
		workflow.MustRegister(r, "work", func(context.Context, struct{}) (string, error) {
			time.Sleep(10 * time.Second) // longer than a lease
			return "done", nil
		})
		running, err := r.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		synctest.Wait()
		queued, err := r.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)

		began := time.Now()
		require.NoError(t, r.Close())
		assert.Equal(t, 10*time.Second, time.Since(began))
		rec := get(t, r, running.ID)
		assert.Equal(t, workflow.Succeeded, rec.Status)
		assert.Equal(t, 1, rec.Attempt)
		assert.Equal(t, workflow.Pending, get(t, r, queued.ID).Status, "what had not begun is left to others")

		next := start(t, workflow.Config{Store: m})
		workflow.MustRegister(next, "work", nothing)
		synctest.Wait()
		assert.Equal(t, workflow.Succeeded, get(t, next, queued.ID).Status)
	})
}

// cancelling ends Start's context as soon as the queue is looked at.
type cancelling struct {
	workflow.Store
	cancel context.CancelFunc
	claims int
}

func (s *cancelling) Claim(ctx context.Context, c workflow.Claim) (*workflow.Record, error) {
	s.claims++
	s.cancel()
	return s.Store.Claim(ctx, c)
}

// When Start's context ends nothing more is taken from the queue, even though
// there are free workers: a select alone would toss a coin.
func TestStartsContextEndsClaiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			s := &cancelling{Store: workflow.NewMemory(), cancel: cancel}
			for _, id := range []string{"a", "b", "c"} {
				_, err := s.Insert(t.Context(), &workflow.Record{
					ID: id, Workflow: "work", Scope: workflow.Global(), Input: json.RawMessage(`{}`),
				}, 0)
				require.NoError(t, err)
			}
			r := newRegistry(t, workflow.Config{Store: s})
			workflow.MustRegister(r, "work", nothing)
			require.NoError(t, r.Start(ctx))
			synctest.Wait()
			require.NoError(t, r.Close())
			assert.Equal(t, 1, s.claims)
		}
	})
}

// Runs that do not end in time are handed back, and none is lost.
func TestCloseHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := workflow.NewMemory()
		r := newRegistry(t, workflow.Config{Store: m, CloseTimeout: 3 * time.Second})
		require.NoError(t, r.Start(t.Context()))
		release := make(chan struct{})
		fns := map[string]func(context.Context, struct{}) (string, error){
			"obedient": func(ctx context.Context, _ struct{}) (string, error) {
				<-ctx.Done()
				return "", context.Cause(ctx)
			},
			"stubborn": func(ctx context.Context, _ struct{}) (string, error) {
				workflow.Logger(ctx).Info("begun")
				<-release
				return "too late", nil
			},
			"finishing": func(ctx context.Context, _ struct{}) (string, error) {
				<-ctx.Done()
				return "saved what there was", nil
			},
			"panicking": func(ctx context.Context, _ struct{}) (string, error) {
				<-ctx.Done()
				panic("oh")
			},
			"failing before": func(context.Context, struct{}) (string, error) { return "", errors.New("no") },
		}
		want := map[string]workflow.Status{
			"obedient": workflow.Pending, "stubborn": workflow.Pending, "finishing": workflow.Succeeded,
			"panicking": workflow.Failed, "failing before": workflow.Failed,
		}
		ids := map[string]string{}
		waiting := make(chan *workflow.Record, 1)
		for name, fn := range fns {
			workflow.MustRegister(r, name[:4], fn)
			rec, err := r.Execute(t.Context(), name[:4], async(``))
			require.NoError(t, err)
			ids[name] = rec.ID
		}
		go func() {
			rec, err := r.Execute(context.Background(), "obed", request(``))
			assert.NoError(t, err)
			waiting <- rec
		}()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, r.Close())
		assert.Less(t, time.Since(began), 4*time.Second)
		for name, id := range ids {
			rec := get(t, r, id)
			assert.Equal(t, want[name], rec.Status, name)
			assert.Zero(t, rec.Takeovers)
		}
		logs, err := r.Logs(t.Context(), ids["stubborn"])
		require.NoError(t, err)
		assert.Len(t, logs, 1)
		assert.Equal(t, workflow.Pending, (<-waiting).Status, "who waits learns that it will run again")

		next := start(t, workflow.Config{Store: m})
		for name := range fns {
			workflow.MustRegister(next, name[:4], nothing)
		}
		synctest.Wait()
		for name, id := range ids {
			if want[name] == workflow.Pending {
				rec := get(t, next, id)
				assert.Equal(t, workflow.Succeeded, rec.Status, name)
				assert.Equal(t, 2, rec.Attempt)
			}
		}
		close(release)
		synctest.Wait()
		assert.NotContains(t, string(get(t, next, ids["stubborn"]).Result), "too late")
	})
}

func TestCloseWithABrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: workflow.NewMemory()}
		r := newRegistry(t, workflow.Config{Store: store, CloseTimeout: time.Second})
		require.NoError(t, r.Start(t.Context()))
		w := workflow.MustRegister(r, "work", until)
		ex, err := w.Execute(t.Context(), "org-1", struct{}{})
		require.NoError(t, err)
		store.broken.Store(true)
		began := time.Now()
		require.ErrorContains(t, r.Close(), "1 executions could be neither recorded nor handed back")
		assert.Less(t, time.Since(began), 20*time.Second)
		_, err = ex.Result(t.Context())
		require.ErrorIs(t, err, workflow.ErrClosed)

		store.broken.Store(false)
		next := start(t, workflow.Config{Store: store})
		workflow.MustRegister(next, "work", nothing)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		assert.Equal(t, workflow.Succeeded, get(t, next, ex.ID()).Status)
	})
}

func TestShutdownObeysItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, workflow.Config{})
		require.NoError(t, r.Start(t.Context()))
		w := workflow.MustRegister(r, "work", until)
		ex, err := w.Execute(t.Context(), "org-1", struct{}{})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		done := make(chan error)
		began := time.Now()
		go func() { done <- r.Shutdown(ctx) }()
		synctest.Wait()
		require.NoError(t, r.Close(), "waits for the one under way")
		require.NoError(t, <-done)
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.Equal(t, workflow.Pending, get(t, r, ex.ID()).Status)
	})
}
