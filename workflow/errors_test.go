package workflow_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

// mute is a store that can cease to answer: then its calls last as long as they may.
type mute struct {
	workflow.Store
	silent atomic.Bool
}

func (m *mute) answer(ctx context.Context) error {
	if !m.silent.Load() {
		return nil
	}
	<-ctx.Done()
	return fmt.Errorf("dial: %w", ctx.Err())
}

func (m *mute) Insert(ctx context.Context, r *workflow.Record, lease time.Duration) (*workflow.Record, error) {
	if err := m.answer(ctx); err != nil {
		return nil, err
	}
	return m.Store.Insert(ctx, r, lease)
}

func (m *mute) Get(ctx context.Context, id string) (*workflow.Record, error) {
	if err := m.answer(ctx); err != nil {
		return nil, err
	}
	return m.Store.Get(ctx, id)
}

// Execute bounds what it asks of the store by itself: when that time is over, nobody
// but the store was late.
func TestExecuteWithAStoreThatDoesNotAnswer(t *testing.T) {
	for name, leave := range map[string]time.Duration{"a caller who stays": time.Hour, "one who has left by then": time.Second} {
		for kind, req := range map[string]workflow.ExecuteRequest{"begun at once": request(``), "queued": async(``)} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &mute{Store: workflow.NewMemory()}
					r := start(t, workflow.Config{Store: store})
					workflow.MustRegister(r, "work", nothing)
					ctx, cancel := context.WithTimeout(t.Context(), leave)
					defer cancel()
					store.silent.Store(true)
					rec, err := r.Execute(ctx, "work", req)
					require.ErrorIs(t, err, workflow.ErrUnavailable, "it may have been queued")
					assert.Nil(t, rec)
				})
			})
		}
	}
	t.Run("when the waiting is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &mute{Store: workflow.NewMemory()}
			r := start(t, workflow.Config{Store: store})
			workflow.MustRegister(r, "work", func(context.Context, struct{}) (string, error) {
				store.silent.Store(true)
				time.Sleep(2 * time.Minute)
				return "done", nil
			})
			rec, err := r.Execute(t.Context(), "work", request(``))
			require.ErrorIs(t, err, workflow.ErrUnavailable)
			require.NotNil(t, rec, "the caller learns the id")
			assert.Equal(t, workflow.Running, rec.Status)
			store.silent.Store(false)
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.Equal(t, workflow.Succeeded, get(t, r, rec.ID).Status)
		})
	})
}

// late is a store that cannot be dialled, whatever the caller's context allows.
type late struct{ workflow.Store }

func (late) Get(context.Context, string) (*workflow.Record, error) {
	return nil, fmt.Errorf("dial: %w", context.DeadlineExceeded)
}

func (late) List(context.Context, workflow.Match, string, int) ([]*workflow.Record, error) {
	return nil, fmt.Errorf("dial: %w", context.DeadlineExceeded)
}

func (late) Logs(context.Context, string) ([]workflow.Log, error) {
	return nil, fmt.Errorf("dial: %w", context.DeadlineExceeded)
}

// A timeout is the caller's only if his context has ended.
func TestWhoseTimeoutItIs(t *testing.T) {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	r := newRegistry(t, workflow.Config{Store: late{workflow.NewMemory()}})
	ended, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for name, call := range map[string]func(ctx context.Context) error{
		"Execution": func(ctx context.Context) error { _, err := r.Execution(ctx, id); return err },
		"Executions": func(ctx context.Context) error {
			_, err := r.Executions(ctx, workflow.Filter{AllScopes: true}, "")
			return err
		},
		"Logs":   func(ctx context.Context) error { _, err := r.Logs(ctx, id); return err },
		"Cancel": func(ctx context.Context) error { _, err := r.Cancel(ctx, id); return err },
		"Retry":  func(ctx context.Context) error { _, err := r.Retry(ctx, id, ""); return err },
	} {
		require.ErrorIs(t, call(t.Context()), workflow.ErrUnavailable, name)
		err := call(ended)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.NotErrorIs(t, err, workflow.ErrUnavailable, name)
	}
}
