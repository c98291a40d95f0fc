package oauthflow_test

import (
	"context"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// holding is a world with a refresh beside, of a token about to end, that is held
// up before it reads the record. release lets it go on.
func holding(t *testing.T) (w *world, release func()) {
	w, f := flaky(t)
	pass(3600*time.Second - 30*time.Second)
	hold := make(chan struct{})
	f.set(func(f *faulty) { f.hold, f.held = hold, 0 })
	w.requireToken(w.m, "AT1")
	synctest.Wait()
	return w, func() { close(hold) }
}

func TestARejectedTokenIsNotTakenFromSomebodyElsesFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := holding(t)
		w.idp.delay = 5 * time.Second
		_, err := w.process().Token(context.Background(), w.target) // it begins, and AT1 is good meanwhile
		require.NoError(t, err)
		synctest.Wait()
		require.NotNil(t, w.row().Attempt)
		got := make(chan string, 1)
		go func() {
			s, err := w.m.Renew(context.Background(), w.target, 1)
			if assert.NoError(t, err) {
				got <- s.AccessToken().Reveal()
			}
		}()
		synctest.Wait()
		release()
		require.Equal(t, "AT2", <-got)
		require.Len(t, w.idp.refreshes(), 1)
	})
}

func TestAFlightThatFindsAnotherEntitySendsAndServesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := holding(t)
		mine := w.target
		failed := make(chan error, 1)
		go func() {
			_, err := w.m.Renew(context.Background(), mine, 1)
			failed <- err
		}()
		synctest.Wait()
		w.target.EntityID = "other"
		w.m = w.process()
		w.connect("g2")
		release()
		require.Equal(t, "entity_changed", problem(t, <-failed, oauthflow.ErrReauthRequired).Reason)
		require.Empty(t, w.idp.refreshes())
	})
}

// A reconnect overtakes a refresh, and its token has ended when the reply comes:
// the flight would go on to a second request.
func TestASecondRoundNeedsSomebodyWhoWaits(t *testing.T) {
	round := func(t *testing.T) *world {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.delay = 5 * time.Second
		return w
	}
	reconnect := func(w *world) {
		w.idp.set(func(p *idp) { p.delay, p.lifetime = 0, "1" })
		w.connect("g2")
	}
	t.Run("nobody does", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := round(t)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			go func() { _, _ = w.m.Token(ctx, w.target) }()
			pass(time.Second)
			reconnect(w)
			pass(time.Minute)
			require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
			require.Nil(t, w.row().Attempt)
		})
	})
	t.Run("until it is on its way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := round(t)
			ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
			defer cancel()
			go func() { _, _ = w.m.Token(ctx, w.target) }()
			pass(time.Second)
			reconnect(w)
			w.idp.set(func(p *idp) {
				p.dial = func(ctx context.Context) error {
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(4 * time.Second):
						return nil
					}
				}
			})
			pass(time.Minute)
			require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
			require.Nil(t, w.row().Attempt)
		})
	})
	t.Run("somebody does", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := round(t)
			w.idp.answer = func(form url.Values) (int, string, error) {
				if form.Get("refresh_token") == "g2/RT3" {
					w.idp.lifetime = "3600"
				}
				return 0, "", nil
			}
			go func() {
				pass(time.Second)
				reconnect(w)
			}()
			w.requireToken(w.m, "AT4")
			require.Equal(t, []string{"g/RT1", "g2/RT3"}, w.idp.refreshes())
		})
	})
}

// The background leaves with the process while somebody else's request is served on:
// who has joined its flight waits for the other process as everybody does.
func TestTheBackgroundLeavesItsFlightToACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		pass(2 * time.Hour)
		w.idp.delay = 5 * time.Second
		other := make(chan string, 1)
		go func() {
			s, err := w.process().Token(context.Background(), w.target)
			if assert.NoError(t, err) {
				other <- s.AccessToken().Reveal()
			}
		}()
		synctest.Wait()
		require.NotNil(t, w.row().Attempt)

		_, err := w.store.Update(t.Context(), w.target.Key, func(c *tokenstore.Connection, now time.Time) error {
			c.DueAt = now
			return nil
		})
		require.NoError(t, err)
		hold := make(chan struct{})
		f.set(func(f *faulty) { f.hold, f.held = hold, 1 })
		stop := keepFresh(w.m)
		pass(2 * time.Second) // its flight reads the record
		got := make(chan string, 1)
		go func() {
			s, err := w.m.Token(context.Background(), w.target)
			if assert.NoError(t, err) {
				got <- s.AccessToken().Reveal()
			}
		}()
		synctest.Wait()
		stop()
		close(hold)
		require.Equal(t, "AT2", <-other)
		require.Equal(t, "AT2", <-got)
		require.Len(t, w.idp.refreshes(), 1)
	})
}
