package oauthflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// mute is a store whose session may die without a word: what is asked then has no
// answer as long as anybody waits, and what is asked later has.
type mute struct {
	tokenstore.Store
	silent atomic.Bool
}

func (q *mute) wait(ctx context.Context) error {
	if !q.silent.Load() {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (q *mute) Changes(ctx context.Context, after int64, limit int) ([]tokenstore.Key, int64, error) {
	if err := q.wait(ctx); err != nil {
		return nil, after, err
	}
	return q.Store.Changes(ctx, after, limit)
}

func (q *mute) Due(ctx context.Context, limit int) ([]tokenstore.Key, error) {
	if err := q.wait(ctx); err != nil {
		return nil, err
	}
	return q.Store.Due(ctx, limit)
}

func TestTheBackgroundOutlivesDeadSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q := &mute{Store: w.store}
		w.store = q
		w.m = w.process()
		defer follow(w.m)()
		defer keepFresh(w.m)()
		w.connect("g")
		pass(time.Minute)
		require.True(t, w.m.Following())

		q.silent.Store(true)
		pass(10 * time.Second) // whatever looks now, is lost
		require.False(t, w.m.Following())
		q.silent.Store(false)
		pass(15 * time.Second)
		require.True(t, w.m.Following())
		require.Contains(t, w.logs.String(), "change feed cannot be read")
		require.Contains(t, w.logs.String(), "cannot read which connections are due")
		pass(8 * 24 * time.Hour)
		require.NotEmpty(t, w.idp.refreshes(), "once a week, whoever asks")
	})
}
