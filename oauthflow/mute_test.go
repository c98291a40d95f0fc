package oauthflow_test

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// mute is a store whose session may die without a word: what is asked then has no
// answer as long as anybody waits, and what is asked later has.
type mute struct {
	tokenstore.Store
	silent atomic.Bool
	reads  atomic.Bool // only writes have no answer
	writes atomic.Bool // what is to be written is, although it has no answer
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

func (q *mute) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	if !q.reads.Load() {
		if err := q.wait(ctx); err != nil {
			return nil, err
		}
	}
	return q.Store.Load(ctx, key)
}

func (q *mute) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	if !q.silent.Load() {
		return q.Store.Update(ctx, key, change)
	}
	if q.writes.Load() {
		_, _ = q.Store.Update(ctx, key, change)
	}
	return nil, q.wait(ctx)
}

func (q *mute) Due(ctx context.Context, limit int) ([]tokenstore.Key, error) {
	if err := q.wait(ctx); err != nil {
		return nil, err
	}
	return q.Store.Due(ctx, limit)
}

// muted is a world whose store goes silent on demand.
func muted(t *testing.T) (*world, *mute) {
	return connectedOn(t, func(s tokenstore.Store) *mute { return &mute{Store: s} })
}

func TestWhatFollowsAReplyOutlivesDeadSessions(t *testing.T) {
	cases := map[string]struct {
		silence, answered time.Duration
		writes            bool
	}{
		"within the time to record it": {time.Second, 9 * time.Second, false},
		"beyond that":                  {15 * time.Second, 11 * time.Second, false},
		"and it was written":           {time.Second, 9 * time.Second, true},
		"and it was written long ago":  {15 * time.Second, 11 * time.Second, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, q := muted(t)
				q.writes.Store(c.writes)
				pass(2 * time.Hour)
				w.idp.answer = func(url.Values) (int, string, error) {
					q.silent.Store(true)
					time.AfterFunc(c.silence, func() { q.silent.Store(false) })
					return 0, "", nil
				}
				asked := time.Now()
				w.requireToken(w.m, "AT2")
				require.LessOrEqual(t, time.Since(asked), c.answered)
				pass(time.Minute)
				require.Equal(t, int64(2), w.row().Generation)
				require.Equal(t, []string{"connected", "refreshed"}, w.events())
				w.requireToken(w.m, "AT2")
				require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
				require.Empty(t, w.idp.revocations())
			})
		})
	}
}

func TestAVerdictOutlivesDeadSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, q := muted(t)
		pass(2 * time.Hour)
		w.idp.answer = func(url.Values) (int, string, error) {
			q.silent.Store(true)
			time.AfterFunc(time.Second, func() { q.silent.Store(false) })
			return http.StatusBadRequest, `{"error":"invalid_grant"}`, nil
		}
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrReauthRequired)
		require.Equal(t, tokenstore.ReauthRequired, w.row().Status)
	})
}

func TestTheBackgroundOutlivesDeadSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, q := muted(t)
		ignore, rest := follow(w.m), keepFresh(w.m)
		pass(time.Minute)
		require.True(t, w.m.Following())

		q.silent.Store(true)
		pass(10 * time.Second) // whatever looks now, is lost
		require.False(t, w.m.Following())
		q.silent.Store(false)
		pass(15 * time.Second)
		require.True(t, w.m.Following())
		ignore() // its looks are many in a week
		pass(8 * 24 * time.Hour)
		require.NotEmpty(t, w.idp.refreshes(), "once a week, whoever asks")
		rest()
		require.Contains(t, w.logs.String(), "change feed cannot be read")
		require.Contains(t, w.logs.String(), "cannot read which connections are due")
	})
}

func TestASilentStoreHidesNoTokenInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, q := muted(t)
		w.requireToken(w.m, "AT1")
		q.silent.Store(true)
		get := func(m *oauthflow.Manager, patience time.Duration) (string, time.Duration, error) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			asked := time.Now()
			s, err := m.Token(ctx, w.target)
			if err != nil {
				return "", time.Since(asked), err
			}
			return s.AccessToken().Reveal(), time.Since(asked), nil
		}
		for range 3 {
			token, took, err := get(w.m, 5*time.Second)
			require.NoError(t, err)
			require.Equal(t, "AT1", token)
			require.Equal(t, 2*time.Second, took)
			pass(time.Minute)
		}
		_, took, err := get(w.m, time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, took, "nobody waits longer than he wants to")

		_, took, err = get(w.process(), 5*time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded, "nothing is in memory")
		require.Equal(t, 5*time.Second, took)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err = w.m.Renew(ctx, w.target, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded, "the token in memory is the rejected one")
		pass(time.Hour)
		_, took, err = get(w.m, 5*time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded, "it has ended")
		require.Equal(t, 5*time.Second, took)
	})
}

// Who waits for a silent store when his token ends waits on, as all do who have none.
func TestATokenEndsWhileTheStoreIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, q := muted(t)
		w.requireToken(w.m, "AT1")
		pass(time.Until(w.row().ExpiresAt) - time.Second)
		q.silent.Store(true)
		time.AfterFunc(time.Second, func() { q.silent.Store(false) })
		w.requireToken(w.m, "AT2")
	})
}

func TestASilentStoreHidesNoUnsavedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, q := muted(t)
		pass(2 * time.Hour)
		w.idp.answer = func(url.Values) (int, string, error) {
			q.silent.Store(true)
			return 0, "", nil
		}
		w.requireToken(w.m, "AT2")
		asked := time.Now()
		w.requireToken(w.m, "AT2")
		require.Equal(t, 2*time.Second, time.Since(asked))
		q.silent.Store(false)
		pass(time.Minute)
		require.Equal(t, int64(2), w.row().Generation)
	})
}

// That a caller has left is nothing to be mended.
func TestWhoLeavesIsNotInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, q := muted(t)
		q.reads.Store(true)
		q.silent.Store(true)
		w.target.EntityID = "other"
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := w.m.Token(ctx, w.target)
		require.Equal(t, "entity_changed", problem(t, err, oauthflow.ErrReauthRequired).Reason)
		require.Error(t, ctx.Err())
		require.NotContains(t, w.logs.String(), "could not record")
	})
}
