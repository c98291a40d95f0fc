package oauthflow_test

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestProcessesShareOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.lifetime = "120"
		processes := []*oauthflow.Manager{w.m, w.process(), w.process(), w.process()}
		var failed atomic.Int64
		for range 20 {
			pass(2 * time.Hour)
			w.idp.delay = 700 * time.Millisecond
			var wg sync.WaitGroup
			for _, m := range processes {
				for range 25 {
					wg.Go(func() {
						if _, err := w.token(m); err != nil {
							failed.Add(1)
						}
					})
				}
			}
			wg.Wait()
		}
		require.Zero(t, failed.Load())
		list := w.idp.refreshes()
		require.Len(t, list, 20)
		seen := map[string]bool{}
		for _, rt := range list {
			require.False(t, seen[rt], "%s was presented twice", rt)
			seen[rt] = true
		}
	})
}

// crashed is a manager that begins a refresh and is never heard of again: its
// store goes away at that moment, its request hangs.
func (w *world) crashed(processed bool) {
	gone := &faulty{Store: w.store}
	hang := &idp{}
	m := w.process(func(c *oauthflow.Config) { c.Store, c.Transport = gone, hang })
	hang.answer = func(form url.Values) (int, string, error) {
		gone.set(func(f *faulty) { f.update, f.load = errStore, errStore })
		if processed {
			w.idp.set(func(p *idp) { _, _, _ = p.usual(form) })
		}
		return 0, "", nil
	}
	hang.delay = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := m.Token(ctx, w.target)
	require.ErrorIs(w.t, err, context.DeadlineExceeded)
}

func TestAnotherProcessTakesOverAfterACrash(t *testing.T) {
	t.Run("ask: after the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			begun := time.Now()
			w.crashed(false)
			require.NotNil(t, w.row().Attempt)
			w.requireToken(w.m, "AT2")
			require.InDelta(t, 30, time.Since(begun).Seconds(), 0.3)
			require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
			c := w.row()
			require.Nil(t, c.Attempt)
			require.Equal(t, 2, c.ParentPresentation)
		})
	})
	t.Run("ask: the provider had seen it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.crashed(true)
			_, err := w.token(w.m)
			require.Equal(t, "lost_rotation", problem(t, err, oauthflow.ErrReauthRequired).Reason)
			require.Equal(t, []string{"connected", "reauth_required lost_rotation"}, w.events())
		})
	})
	t.Run("a caller waits no longer than he wants", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.crashed(false)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, err := w.m.Token(ctx, w.target)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			pass(time.Minute)
			require.Empty(t, w.idp.refreshes(), "and nothing is sent for nobody")
		})
	})
	t.Run("nobody waits while the access token is good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(3600*time.Second - 10*time.Second)
			gone := &faulty{Store: w.store}
			m := w.process(func(c *oauthflow.Config) { c.Store = gone })
			w.idp.delay = time.Hour
			_, err := w.token(m)
			require.NoError(t, err)
			synctest.Wait()
			require.NotNil(t, w.row().Attempt)
			asked := time.Now()
			w.requireToken(w.m, "AT1")
			require.Zero(t, time.Since(asked))
			require.Len(t, w.idp.refreshes(), 1)
		})
	})
	t.Run("grace: inside the window, though the token is good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.target.Client.ReuseGrace = time.Minute
			w.connect("g")
			pass(3600*time.Second - 43*time.Second)
			begun := time.Now()
			gone := &faulty{Store: w.store}
			m := w.process(func(c *oauthflow.Config) { c.Store = gone })
			w.idp.answer = func(form url.Values) (int, string, error) {
				gone.set(func(f *faulty) { f.update, f.load = errStore, errStore })
				w.idp.answer = nil
				return 0, "", errors.New("gone")
			}
			_, err := w.token(m)
			require.NoError(t, err)
			for got := ""; got != "AT2"; pass(time.Second) {
				got, err = w.token(w.m)
				require.NoError(t, err)
				require.Less(t, time.Since(begun), 33*time.Second)
			}
		})
	})
}

func TestALaterPresentationReplacesAnEarlierOnesTokens(t *testing.T) {
	// P1's reply cannot be stored; P2 takes over and asks a provider that withdraws
	// the first successor; P1's store works again before P2's answer comes.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		gone := &faulty{Store: w.store}
		p1 := w.process(func(c *oauthflow.Config) { c.Store = gone })
		w.idp.answer = func(url.Values) (int, string, error) {
			gone.set(func(f *faulty) { f.update = errStore })
			w.idp.answer = always(200, `{"access_token":"AT3","refresh_token":"g/RT3","expires_in":3600}`)
			w.idp.delay = 12 * time.Second
			return 200, `{"access_token":"AT2","refresh_token":"g/RT2","expires_in":3600}`, nil
		}
		w.requireToken(p1, "AT2") // from memory
		got := make(chan string, 1)
		go func() {
			token, err := w.token(w.m)
			assert.NoError(t, err)
			got <- token
		}()
		pass(21 * time.Second)
		require.Len(t, w.idp.refreshes(), 2)
		gone.set(func(f *faulty) { f.update = nil })
		for w.row().Generation == 1 {
			pass(100 * time.Millisecond)
		}
		require.NotNil(t, w.row().Attempt, "P2's")
		require.Equal(t, "AT3", <-got)
		c := w.row()
		require.Equal(t, int64(3), c.Generation)
		require.Equal(t, 2, c.ParentPresentation)
		require.Nil(t, c.Attempt)
		w.requireToken(p1, "AT3")
		w.requireToken(w.process(), "AT3")
	})
}

func TestDisconnectDuringARefreshRevokesWhatItBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.delay = 5 * time.Second
		failed := make(chan error, 1)
		go func() {
			_, err := w.token(w.m)
			failed <- err
		}()
		pass(time.Second)
		other := w.process()
		revocation, err := other.Disconnect(context.Background(), w.target, "bob")
		require.NoError(t, err)
		require.Equal(t, oauthflow.RevocationPending, revocation)
		problem(t, <-failed, oauthflow.ErrNotConnected)
		synctest.Wait()
		require.Equal(t, []string{"g/RT1", "AT1", "g/RT2", "AT2"}, w.idp.revocations())
		c := w.row()
		require.False(t, c.Connected())
		require.Equal(t, int64(2), c.Generation)
		require.Nil(t, c.Sealed)
		require.Nil(t, c.Revoking)
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
	})
}

func TestReconnectDuringARefreshWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.delay = 5 * time.Second
		got := make(chan string, 1)
		go func() {
			token, err := w.token(w.m)
			assert.NoError(t, err)
			got <- token
		}()
		pass(time.Second)
		w.idp.set(func(p *idp) { p.delay = 0 })
		w.connect("g2") // while the refresh is on its way
		require.Equal(t, "AT3", <-got, "who waited for the old grant's gets the new one's")
		c := w.row()
		require.Equal(t, tokenstore.Active, c.Status)
		require.Equal(t, int64(2), c.Generation)
		require.Empty(t, w.idp.revocations(), "at some providers that would end the new grant")
		pass(2 * time.Hour)
		_, err := w.token(w.m)
		require.NoError(t, err)
		list := w.idp.refreshes()
		require.Contains(t, list[len(list)-1], "g2/", "the newer grant is the one that is renewed")
	})
}

func TestAnAbandonedReconnectChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		before := w.row()
		w.start()
		pass(11 * time.Minute)
		after := w.row()
		require.Equal(t, before.Version, after.Version)
		w.requireToken(w.m, "AT1")
	})
}

func TestARestoredBackupIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		restored := &restorable{Store: w.store}
		w.store = restored
		w.m = w.process()
		w.connect("g")
		restored.backup(w.target.Key)
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")

		restored.put()
		w.requireToken(w.m, "AT2") // what is good in memory serves
		pass(2 * time.Hour)
		_, err := w.token(w.m)
		e := problem(t, err, oauthflow.ErrUnavailable)
		require.Contains(t, e.Message, "older record")
		require.Len(t, w.idp.refreshes(), 1, "the spent token is not presented")
		w.connect("g2")
		w.requireToken(w.m, "AT3")
	})
}

// A process that has seen nothing newer cannot know: the provider's answer decides.
func TestARestoredDatabaseIsTheProvidersToJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		restored := &restorable{Store: w.store}
		w.store = restored
		w.m = w.process()
		w.connect("g")
		restored.backup(w.target.Key)
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")
		restored.put()
		_, err := w.token(w.process())
		require.Equal(t, "invalid_grant", problem(t, err, oauthflow.ErrReauthRequired).Reason)
		require.Equal(t, []string{"g/RT1", "g/RT1"}, w.idp.refreshes())
	})
}

// restorable can put an older row back.
type restorable struct {
	tokenstore.Store
	old *tokenstore.Connection
}

func (r *restorable) backup(key tokenstore.Key) {
	r.old, _ = r.Store.Load(context.Background(), key)
}

func (r *restorable) put() {
	_, _ = r.Store.Update(context.Background(), r.old.Key, func(c *tokenstore.Connection, _ time.Time) error {
		*c = *r.old.Clone()
		return nil
	})
}
