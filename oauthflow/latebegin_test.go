package oauthflow_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// tardy is a store whose connection breaks with a write on its way: the next one
// with a delay is applied that much later, when its caller has got an error.
type tardy struct {
	tokenstore.Store
	delay   atomic.Int64 // of the next write; 0: none
	applied chan error
	looks   atomic.Int64 // Updates since
}

// Update implements tokenstore.Store.
func (s *tardy) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	d := s.delay.Swap(0)
	if d == 0 {
		s.looks.Add(1)
		return s.Store.Update(ctx, key, change)
	}
	go func() {
		pass(time.Duration(d))
		_, err := s.Store.Update(context.Background(), key, change)
		s.applied <- err
	}()
	return nil, errStore
}

// A begin that arrives after its process has looked for it in vain was never
// followed by a request, and that process alone can say so.
func TestABeginThatArrivesLateIsTakenBack(t *testing.T) {
	late := func(t *testing.T, change func(*world)) (*world, *tardy) {
		w := newWorld(t)
		s := &tardy{Store: w.store, applied: make(chan error, 1)}
		w.store = s
		w.m = w.process()
		change(w)
		w.connect("g")
		pass(2 * time.Hour)
		return w, s
	}
	never := func(w *world) { w.target.Client.RefreshPolicy = oauthflow.Never }
	for _, d := range []time.Duration{time.Millisecond, 3 * time.Second, 29 * time.Second} {
		t.Run("after "+d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := late(t, never)
				s.delay.Store(int64(d))
				_, err := w.token(w.m)
				problem(t, err, oauthflow.ErrUnavailable)
				require.NoError(t, <-s.applied)
				require.NotNil(t, w.row().Attempt)
				pass(time.Minute)
				require.Nil(t, w.row().Attempt)
				w.requireToken(w.m, "AT2")
				require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
				require.Equal(t, []string{"connected", "refreshed"}, w.events(), "nothing was lost, not even for a while")
			})
		})
	}
	t.Run("it never arrives", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, s := late(t, never)
			s.delay.Store(int64(1000 * time.Hour))
			_, err := w.token(w.m)
			problem(t, err, oauthflow.ErrUnavailable)
			pass(time.Hour)
			require.Less(t, s.looks.Load(), int64(30), "looking has an end")
			begun := time.Now()
			require.NoError(t, w.m.Close())
			require.Zero(t, time.Since(begun))
			pass(1000 * time.Hour)
			require.NoError(t, <-s.applied)
		})
	})
	t.Run("somebody else has renewed meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, s := late(t, never)
			s.delay.Store(int64(20 * time.Second))
			_, err := w.token(w.m)
			problem(t, err, oauthflow.ErrUnavailable)
			w.requireToken(w.process(), "AT2")
			require.Error(t, <-s.applied, "it was meant for another generation")
			pass(time.Minute)
			require.Equal(t, []string{"connected", "refreshed"}, w.events())
		})
	})
}

// busy is a store that takes its time for writes, and then does not get to those
// whose callers have left.
type busy struct {
	tokenstore.Store
	slow  atomic.Bool
	looks atomic.Int64
}

// Update implements tokenstore.Store.
func (s *busy) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	s.looks.Add(1)
	if s.slow.Load() {
		pass(100 * time.Millisecond)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.Store.Update(ctx, key, change)
}

// Callers who leave within the begin leave nothing behind that grows, and a deploy
// does not wait for begins that do not come.
func TestBeginsOfThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &busy{Store: w.store}
		w.store = s
		w.m = w.process()
		w.connect("g")
		pass(2 * time.Hour)
		s.slow.Store(true)
		s.looks.Store(0)
		before := runtime.NumGoroutine()
		const callers = 100
		for range callers {
			ctx, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err := w.m.Token(ctx, w.target)
			leave()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			pass(60 * time.Millisecond)
		}
		require.LessOrEqual(t, runtime.NumGoroutine()-before, 3)
		require.Less(t, s.looks.Load(), int64(callers+20))
		require.Empty(t, w.idp.refreshes())
		begun := time.Now()
		require.NoError(t, w.m.Close())
		require.Less(t, time.Since(begun), 3*time.Second)
	})
}
