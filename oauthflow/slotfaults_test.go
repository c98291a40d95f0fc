package oauthflow_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestTheStoreFailsAfterAScopesReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		w.requireScoped(w.m, "a", "AT2")
		w.idp.answer = func(url.Values) (int, string, error) {
			f.set(func(f *faulty) { f.update = errStore })
			w.idp.answer = nil
			return 0, "", nil
		}
		w.requireScoped(w.m, "b", "AT3") // from memory
		for range 20 {
			w.requireScoped(w.m, "b", "AT3")
			w.requireScoped(w.m, "a", "AT2")
			w.requireToken(w.m, "AT1")
			_, err := w.m.Token(context.Background(), w.scoped("c"))
			problem(t, err, oauthflow.ErrUnavailable)
			pass(time.Minute)
		}
		f.set(func(f *faulty) { f.load = errStore })
		w.requireScoped(w.m, "b", "AT3")
		_, err := w.m.Renew(context.Background(), w.scoped("b"), 3)
		problem(t, err, oauthflow.ErrUnavailable)
		require.Equal(t, []string{"g/RT1", "g/RT2"}, w.idp.refreshes(), "the spent token is not sent again")

		f.set(func(f *faulty) { f.load, f.update = nil, nil })
		pass(time.Minute)
		require.Equal(t, int64(3), w.row().Generation)
		other := w.process()
		w.requireScoped(other, "a", "AT2")
		w.requireScoped(other, "b", "AT3")
		w.requireScoped(other, "c", "AT4")
		w.requireToken(other, "AT1")
		require.Equal(t, []string{"g/RT1", "g/RT2", "g/RT3"}, w.idp.refreshes())
	})
}

func TestAScopesTokenServesWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		s := w.requireScoped(w.m, "a", "AT2")
		f.set(func(f *faulty) { f.load = errStore })
		w.requireScoped(w.m, "a", "AT2")
		_, err := w.m.Renew(context.Background(), w.scoped("a"), s.Generation())
		problem(t, err, oauthflow.ErrUnavailable)
		_, err = w.m.Token(context.Background(), w.scoped("b"))
		problem(t, err, oauthflow.ErrUnavailable)
		pass(2 * time.Hour)
		_, err = w.m.Token(context.Background(), w.scoped("a"))
		problem(t, err, oauthflow.ErrUnavailable)
		require.Len(t, w.idp.refreshes(), 1)
	})
}

// Whoever asks again may lose the grant's own token, which is good still.
func TestAScopesLostReplyIsAskedForWhenNothingIsToLose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.answer = func(url.Values) (int, string, error) {
			w.idp.answer = nil
			return 0, "", errors.New("connection reset by peer")
		}
		connected := time.Now()
		_, err := w.m.Token(context.Background(), w.scoped(mail))
		problem(t, err, oauthflow.ErrUnavailable)
		require.Equal(t, tokenstore.Degraded, w.row().Status)
		for time.Since(connected) < 58*time.Minute {
			pass(time.Minute)
			_, err = w.m.Token(context.Background(), w.scoped(mail))
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.WithinDuration(t, connected.Add(time.Hour), time.Now().Add(e.RetryAfter), 10*time.Second)
			w.requireToken(w.process(), "AT1")
		}
		require.Len(t, w.idp.refreshes(), 1)
		pass(3 * time.Minute)
		w.requireScoped(w.m, mail, "AT2")
		require.Equal(t, tokenstore.Active, w.row().Status, "the grant lives")
		w.requireToken(w.m, "AT3")
		require.Equal(t, []string{"g/RT1", "g/RT1", "g/RT2"}, w.idp.refreshes())
	})
}

func TestAScopesRefreshOvertakenByDisconnectAndReconnect(t *testing.T) {
	asking := func(t *testing.T) (*world, chan error) {
		w := newWorld(t)
		w.connect("g")
		w.idp.delay = 5 * time.Second
		done := make(chan error, 1)
		go func() {
			_, err := w.m.Token(context.Background(), w.scoped(mail))
			done <- err
		}()
		pass(time.Second)
		w.idp.set(func(p *idp) { p.delay = 0 })
		return w, done
	}
	t.Run("disconnect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, done := asking(t)
			_, err := w.process().Disconnect(context.Background(), w.target, "bob")
			require.NoError(t, err)
			problem(t, <-done, oauthflow.ErrNotConnected)
			synctest.Wait()
			require.Contains(t, w.idp.revocations(), "g/RT2")
			require.False(t, w.row().Connected())
		})
	})
	t.Run("reconnect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, done := asking(t)
			w.connect("g2")
			require.NoError(t, <-done)
			require.Empty(t, w.idp.revocations())
			w.requireScoped(w.m, mail, "AT4") // of the new grant
			require.Equal(t, []string{"g/RT1", "g2/RT3"}, w.idp.refreshes())
		})
	})
}

// P1's reply for one scope cannot be stored; P2 takes over, and P1's store works
// again before P2's answer comes: P2's goes on top of it and loses nothing.
func TestALaterPresentationForAnotherScopeKeepsTheEarliersTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		gone := &faulty{Store: w.store}
		p1 := w.process(func(c *oauthflow.Config) { c.Store = gone })
		w.idp.answer = func(url.Values) (int, string, error) {
			gone.set(func(f *faulty) { f.update = errStore })
			w.idp.answer = always(200, `{"access_token":"AT3","refresh_token":"g/RT3","expires_in":600}`)
			w.idp.delay = 12 * time.Second
			return 200, `{"access_token":"AT2","refresh_token":"g/RT2","expires_in":3600}`, nil
		}
		w.requireToken(p1, "AT2") // from memory
		got := make(chan string, 1)
		go func() {
			s, err := w.m.Token(context.Background(), w.scoped(mail))
			if assert.NoError(t, err) {
				got <- s.AccessToken().Reveal()
			}
		}()
		pass(21 * time.Second)
		require.Len(t, w.idp.refreshes(), 2)
		gone.set(func(f *faulty) { f.update = nil })
		for w.row().Generation == 1 {
			pass(100 * time.Millisecond)
		}
		expires := w.row().ExpiresAt
		require.Equal(t, "AT3", <-got)
		c := w.row()
		require.Equal(t, int64(3), c.Generation)
		require.Equal(t, expires, c.ExpiresAt)
		for _, m := range []*oauthflow.Manager{p1, w.process()} {
			w.requireToken(m, "AT2")
			w.requireScoped(m, mail, "AT3")
		}
		w.idp.set(func(p *idp) { p.answer, p.delay = nil, 0; p.current["g"] = "g/RT3" })
		_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		require.Equal(t, "g/RT3", w.idp.refreshes()[2], "the newest refresh token")
	})
}

func TestSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer follow(w.m)()
		pass(time.Second)
		own, other := w.m.Source(w.target), w.m.Source(w.scoped(mail))
		require.Same(t, own, w.m.Source(w.target))
		require.Same(t, other, w.m.Source(w.scoped(mail)))
		require.NotSame(t, own, other)
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrNotConnected)
		for _, s := range []oauthflow.Source{own, other} {
			snap, ok := s.Current()
			require.True(t, ok)
			require.Nil(t, snap, "known not to exist")
		}

		w.connect("g")
		w.requireToken(w.m, "AT1")
		_, ok := other.Current()
		require.False(t, ok, "not asked for yet")
		w.requireScoped(w.m, mail, "AT2")
		pass(1100 * time.Millisecond) // the watcher has seen that, and is not at it now
		w.requireToken(w.m, "AT1")
		for want, s := range map[string]oauthflow.Source{"AT1": own, "AT2": other} {
			snap, ok := s.Current()
			require.True(t, ok)
			require.Equal(t, want, snap.AccessToken().Reveal())
			again, _ := s.Current()
			require.Same(t, snap, again)
			require.Zero(t, testing.AllocsPerRun(100, func() { s.Current() }))
		}
		require.Zero(t, testing.AllocsPerRun(100, func() { w.m.Handle(w.target.Key).Current() }))

		// The definition changes while everything is warm.
		changed := w.target
		changed.Fingerprint = "f2"
		require.Same(t, own, w.m.Source(w.target))
		same := w.m.Source(changed)
		_, ok = same.Current()
		require.True(t, ok, "the grant has no fingerprint to compare")
		for _, change := range []func(*oauthflow.Target){
			func(t *oauthflow.Target) { t.EntityID = "other" },
			func(t *oauthflow.Target) { c := *t.Client; c.ClientID = "other"; t.Client = &c },
			func(t *oauthflow.Target) { c := *t.Client; c.TokenURL = "https://evil.example.com/"; t.Client = &c },
		} {
			changed := w.target
			change(&changed)
			_, ok := w.m.Source(changed).Current()
			require.False(t, ok)
			_, ok = own.Current()
			require.True(t, ok, "who still has the old definition is served as it was")
		}
		pass(time.Hour)
		for _, s := range []oauthflow.Source{own, other} {
			_, ok := s.Current()
			require.False(t, ok, "due")
		}
	})
}

func TestAReplyForAScopeWithoutAnAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.answer = func(form url.Values) (int, string, error) {
			_, _, _ = w.idp.usual(form)
			w.idp.answer = nil
			return 200, `{"refresh_token":"g/RT2","access_token":7}`, nil
		}
		for range 3 {
			_, err := w.m.Token(context.Background(), w.scoped(mail))
			require.Contains(t, problem(t, err, oauthflow.ErrUnavailable).Message, mail)
		}
		c := w.row()
		require.Equal(t, int64(2), c.Generation, "the rotated token is stored all the same")
		require.Equal(t, tokenstore.Active, c.Status)
		w.requireToken(w.m, "AT1")
		pass(time.Minute)
		w.requireScoped(w.m, mail, "AT3")
		require.Equal(t, []string{"g/RT1", "g/RT2"}, w.idp.refreshes())
	})
}

func TestDisconnectRevokesEveryAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.requireScoped(w.m, "b", "AT2")
		w.requireScoped(w.m, "a", "AT3")
		revocation, err := w.m.Disconnect(context.Background(), w.target, "bob")
		require.NoError(t, err)
		require.Equal(t, oauthflow.RevocationPending, revocation)
		synctest.Wait()
		require.Equal(t, []string{"g/RT3", "AT1", "AT3", "AT2"}, w.idp.revocations())
		_, err = w.m.Token(context.Background(), w.scoped("a"))
		problem(t, err, oauthflow.ErrNotConnected)
	})
}

// Who waits for another scope's refresh to end does not give that up by leaving.
func TestLeavingAnotherScopesRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.dial = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(3 * time.Second):
				return nil
			}
		}
		done := make(chan error, 1)
		go func() {
			_, err := w.m.Token(context.Background(), w.scoped("a"))
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := w.m.Token(ctx, w.scoped("b"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, <-done)
		require.Equal(t, []string{"a"}, w.idp.scopes())
	})
}

// The own token's last moments, while another scope's refresh is under way.
func TestAnotherScopesTokenIsNeverTakenForTheOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		pass(3596 * time.Second)
		hold := make(chan struct{})
		f.set(func(f *faulty) { f.hold, f.held = hold, 0 })
		other := make(chan error, 1)
		go func() {
			_, err := w.m.Token(context.Background(), w.scoped(mail))
			other <- err
		}()
		synctest.Wait()
		go func() {
			pass(time.Second)
			close(hold)
		}()
		w.requireToken(w.m, "AT1")
		require.NoError(t, <-other)
		w.requireScoped(w.m, mail, "AT2")
		pass(5 * time.Second)
		w.requireToken(w.m, "AT3")
	})
}
