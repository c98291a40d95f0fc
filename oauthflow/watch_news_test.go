package oauthflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// telling is a store that tells of its writes, unless it is deaf.
type telling struct {
	tokenstore.Store
	news  chan struct{}
	deaf  atomic.Bool
	looks atomic.Int64
}

func (s *telling) Notify(context.Context) <-chan struct{} { return s.news }

func (s *telling) Changes(ctx context.Context, after int64, limit int) ([]tokenstore.Key, int64, error) {
	s.looks.Add(1)
	return s.Store.Changes(ctx, after, limit)
}

func (s *telling) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	c, err := s.Store.Update(ctx, key, change)
	if err == nil && !s.deaf.Load() {
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
	return c, err
}

// told is a world whose store tells of writes, and one process of it that looks by
// itself every quarter of an hour.
func told(t *testing.T) (w *world, watching *oauthflow.Manager, s *telling) {
	t.Helper()
	w = newWorld(t)
	s = &telling{Store: w.store, news: make(chan struct{}, 1)}
	w.store = s
	w.m = w.process()
	return w, w.process(func(c *oauthflow.Config) { c.Staleness = time.Hour }), s
}

func TestNewsAreLookedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watching, s := told(t)
		defer follow(watching)()
		pass(time.Second)
		h := watching.Handle(w.target.Key)
		_, err := w.token(watching)
		problem(t, err, oauthflow.ErrNotConnected)
		_, ok := h.Current()
		require.True(t, ok)

		w.connect("g")
		synctest.Wait()
		_, ok = h.Current()
		require.False(t, ok, "no time has passed")
		w.requireToken(watching, "AT1")

		s.deaf.Store(true)
		_, err = w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		pass(14 * time.Minute)
		w.requireToken(watching, "AT1")
		pass(2 * time.Minute)
		w.requireToken(watching, "AT2")
	})
}

func TestManyNewsAreFewLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watching, s := told(t)
		w.connect("g")
		defer follow(watching)()
		pass(time.Second)
		s.looks.Store(0)
		for range 1000 {
			_, err := s.Update(context.Background(), w.target.Key, func(*tokenstore.Connection, time.Time) error { return nil })
			require.NoError(t, err)
			pass(time.Millisecond)
		}
		pass(time.Second)
		require.InDelta(t, 50, s.looks.Load(), 2)
		s.looks.Store(0)
		pass(time.Hour)
		require.InDelta(t, 4, s.looks.Load(), 1, "in the rhythm of the looks")
	})
}
