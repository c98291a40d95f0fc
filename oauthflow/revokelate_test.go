package oauthflow_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// forRevocations is a transport that carries those alone, or all else alone.
func forRevocations(next http.RoundTripper, only bool) http.RoundTripper {
	return roundTripFunc(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/revoke") != only {
			return nil, errors.New("this transport is for something else")
		}
		return next.RoundTrip(r)
	})
}

// A token that arrives when its connection is gone joins what is to be revoked.
func TestALateTokenOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		pass(2 * time.Hour)
		w.provider.Script(oauthtest.Refresh, oauthtest.Delay(5*time.Second, oauthtest.Serve()))
		w.provider.Always(oauthtest.Revocation, oauthtest.Fail(503, "", ""))
		failed := make(chan error, 1)
		go func() {
			_, err := w.token(w.m)
			failed <- err
		}()
		pass(time.Second)
		w.disconnect(w.start())
		synctest.Wait()
		first := w.row().Revoking
		problem(t, <-failed, oauthflow.ErrNotConnected)
		synctest.Wait()
		require.NotEqual(t, first, w.row().Revoking, "there is more by now")
		require.NoError(t, w.m.Close())

		w.provider.Always(oauthtest.Revocation, oauthtest.Do(w.note))
		defer keepFresh(w.start())()
		pass(time.Hour)
		require.Equal(t, []string{"refresh_token", "access_token", "refresh_token", "access_token"}, w.seen())
		require.Equal(t, 1, w.dead())
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		w.requireDone()
	})
}

// The store goes away just then: it is sent from memory, and what is left of it is
// stored as soon as that can be.
func TestALateTokenWhileTheStoreIsAway(t *testing.T) {
	for name, reachable := range map[string]bool{"the provider is there": true, "so is the provider": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRevokeWorld(t)
				w.connect(w.m)
				pass(2 * time.Hour)
				f := &faulty{Store: w.store}
				var bad atomic.Bool
				m := w.start(func(c *oauthflow.Config) { c.Store = lateStore{f, &bad} })
				w.provider.Script(oauthtest.Refresh, oauthtest.Do(func(x *oauthtest.Exchange) {
					x.Process()
					x.Wait(5 * time.Second)
				}))
				failed := make(chan error, 1)
				go func() {
					_, err := w.token(m)
					failed <- err
				}()
				pass(time.Second)
				w.disconnect(w.m)
				pass(time.Second)
				w.requireDone()
				bad.Store(true)
				if !reachable {
					w.provider.Always(oauthtest.Revocation, oauthtest.Fail(503, "", ""))
				}
				problem(t, <-failed, oauthflow.ErrNotConnected)
				pass(30 * time.Second)
				require.Nil(t, w.row().Revoking)
				if reachable {
					require.Len(t, w.seen(), 4)
					return
				}
				bad.Store(false)
				w.provider.Always(oauthtest.Revocation, oauthtest.Do(w.note))
				pass(time.Minute)
				require.NotNil(t, w.row().Revoking)
				defer keepFresh(m)()
				pass(3 * time.Minute)
				require.Len(t, w.seen(), 4)
				w.requireDone()
			})
		})
	}
}

// lateStore fails where something is to be written into a tombstone.
type lateStore struct {
	*faulty
	bad *atomic.Bool
}

func (s lateStore) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	failed := false
	c, err := s.faulty.Update(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
		if err := change(c, now); err != nil {
			return err
		}
		if failed = s.bad.Load() && !c.Connected(); failed {
			return errStore
		}
		return nil
	})
	if failed {
		return nil, errStore
	}
	return c, err
}

// An organization goes with fifty connections, while the provider is away, and with
// its definitions and its history.
func TestAnOrganizationIsRevokedWhenItIsGone(t *testing.T) {
	for _, another := range []bool{false, true} {
		t.Run(fmt.Sprint("by another process: ", another), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRevokeWorld(t)
				keys := w.orgs(50)
				gone := "gone"
				w.provider.SetDown(true)
				r, err := w.m.Remove(t.Context(), tokenstore.Match{Org: &gone}, w.targets, oauthflow.RemoveOptions{
					Reason: "org_deleted", Actor: "root", NoHistory: true,
				})
				require.NoError(t, err)
				_, err = w.store.DeleteEvents(t.Context(), tokenstore.Match{Org: &gone}, 0, 1000)
				require.NoError(t, err)
				w.known.set(func(*oauthflow.Target) error { return oauthflow.ErrGone })
				m := w.m
				if another {
					m = w.start()
				} else {
					began := time.Now()
					pending, unsupported, failed := r.Revoke()
					require.Equal(t, []int{50, 0, 0}, []int{pending, unsupported, failed})
					require.Zero(t, time.Since(began))
				}
				defer keepFresh(m)()
				pass(time.Hour)
				require.Less(t, m.Stats().Requests, int64(600), "with pauses that grow")
				w.provider.SetDown(false)
				pass(2 * time.Hour)
				require.Equal(t, 50, w.dead())
				for _, key := range keys {
					c, err := w.store.Load(t.Context(), key)
					require.NoError(t, err)
					require.Nil(t, c.Revoking)
					require.Zero(t, c.DueAt)
				}
				list, err := w.store.Events(t.Context(), tokenstore.Match{Org: &gone}, 0, 10)
				require.NoError(t, err)
				require.Empty(t, list, "its history is deleted")
				told := 0
				for _, e := range w.ears.heard() {
					if e == "revoked" {
						told++
					}
				}
				require.Equal(t, 50, told)
			})
		})
	}
}

// However many are removed at once, few are asked for at a time, and none is left.
func TestABurstIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.orgs(30)
		var under, most atomic.Int64
		w.provider.Always(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) {
			n := under.Add(1)
			defer under.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			x.Wait(time.Second)
		}))
		for _, user := range []string{"u0", "u1"} { // what is removed twice is revoked once
			w.target.Key = tokenstore.Key{Definition: "def", Org: "gone", User: user}
			w.disconnect(w.m)
		}
		pass(5 * time.Second)
		most.Store(0)
		r := w.remove(tokenstore.Match{Definition: "def"})
		require.Equal(t, 28, r.Connections())
		r.Revoke()
		pass(time.Minute)
		require.Equal(t, int64(4), most.Load())
		require.Equal(t, 30, w.dead())
		require.Equal(t, 60, w.provider.Counts().Revocations)
	})
}

// A key that is missing is found again: nothing is lost, and nobody looks all the time.
func TestWhatDoesNotOpenIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.abandon(w.m)
		require.NoError(t, w.m.Close())
		ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
		require.NoError(t, err)
		f := &faulty{Store: w.store}
		blind := w.start(func(c *oauthflow.Config) { c.Store, c.Sealer = f, tokenstore.NewSealer(ring) })
		stop := keepFresh(blind)
		pass(30 * time.Hour)
		stop()
		require.Zero(t, w.provider.Counts().Revocations)
		require.NotNil(t, w.row().Revoking, "however long it takes")
		require.Contains(t, w.logs.String(), "cannot be sent by this process")
		require.Less(t, f.loads, 200, "about once an hour")

		defer keepFresh(w.start())()
		pass(3 * time.Hour)
		require.Equal(t, 1, w.dead())
		w.requireDone()
	})
}

// Who has the key gets it, though a process that has not is looking as well.
func TestAProcessWithoutTheKeyIsNotInTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
		require.NoError(t, err)
		defer keepFresh(w.start(func(c *oauthflow.Config) { c.Sealer = tokenstore.NewSealer(ring) }))()
		w.provider.Script(oauthtest.Revocation, oauthtest.Fail(503, "", ""))
		w.disconnect(w.m)
		defer keepFresh(w.m)()
		pass(5 * time.Minute)
		require.Equal(t, 1, w.dead())
	})
}

func TestTokensThatDoNotOpenAreRemovedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
		require.NoError(t, err)
		m := w.start(func(c *oauthflow.Config) { c.Sealer = tokenstore.NewSealer(ring) })
		got, err := m.Disconnect(t.Context(), w.target, "bob")
		require.NoError(t, err)
		require.Equal(t, oauthflow.RevocationFailed, got)
		require.False(t, w.row().Connected())
		w.requireDone()
	})
}

// What is sealed under a new key while the provider is asked is done all the same.
func TestSealedAgainWhileItIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.provider.Script(oauthtest.Revocation, oauthtest.Do(func(*oauthtest.Exchange) {
			c := w.row()
			b := tokenstore.Binding{Key: c.Key, Field: "revocation", Generation: c.Generation}
			text, err := w.sealer.Open(context.Background(), c.Revoking, b)
			if err != nil {
				panic(err)
			}
			sealed, err := w.sealer.Seal(context.Background(), text, b)
			if err != nil {
				panic(err)
			}
			_, err = w.store.Update(context.Background(), c.Key, func(c *tokenstore.Connection, _ time.Time) error {
				c.Revoking = sealed
				return nil
			})
			if err != nil {
				panic(err)
			}
		}))
		w.disconnect(w.m)
		synctest.Wait()
		require.Equal(t, 2, w.provider.Counts().Revocations)
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		w.requireDone()
	})
}

// A restricted definition's tokens go by its transport, also when nobody knows it any
// more.
func TestRevocationsGoByTheirTransport(t *testing.T) {
	for _, configured := range []bool{true, false} {
		t.Run(fmt.Sprint("Config.Restricted: ", configured), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRevokeWorld(t)
				narrow := w.provider.RoundTripper()
				w.target.Transport = narrow
				open := func(c *oauthflow.Config) { c.Transport = forRevocations(narrow, false) }
				w.m = w.start(open)
				w.connect(w.m)
				w.abandon(w.m)
				w.known.set(func(*oauthflow.Target) error { return oauthflow.ErrGone })
				m := w.start(open, func(c *oauthflow.Config) {
					if configured {
						c.Restricted = narrow
					}
				})
				defer keepFresh(m)()
				pass(time.Hour)
				if !configured {
					require.Zero(t, w.dead())
					require.NotNil(t, w.row().Revoking)
					w.known.set(nil) // the definition is back
					pass(3 * time.Hour)
				}
				require.Equal(t, 1, w.dead())
				w.requireDone()
			})
		})
	}
}

// The store does not take the outcome: it is asked for again, which does no harm.
func TestTheOutcomeIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		var bad atomic.Bool
		m := w.start(func(c *oauthflow.Config) { c.Store = lateStore{&faulty{Store: w.store}, &bad} })
		defer keepFresh(m)()
		w.provider.Script(oauthtest.Revocation, oauthtest.Do(func(*oauthtest.Exchange) { bad.Store(true) }))
		w.disconnect(m)
		pass(time.Minute)
		require.NotNil(t, w.row().Revoking)
		bad.Store(false)
		pass(10 * time.Minute)
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		w.requireDone()
	})
}

// Somebody connects again while the first of two tokens is on its way.
func TestConnectedAgainBetweenTwoTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.provider.Script(oauthtest.Revocation, oauthtest.Delay(4*time.Second, oauthtest.Do(w.note)))
		w.disconnect(w.m)
		pass(time.Second)
		w.connect(w.m)
		defer keepFresh(w.m)()
		pass(30 * time.Minute)
		require.Equal(t, []string{"refresh_token"}, w.seen())
		require.True(t, w.row().Connected())
		require.Equal(t, []string{"connected", "disconnected", "revocation_failed reconnected", "connected"}, w.events())
	})
}

// A code brings a refresh token beside an access token that cannot be used: nobody
// else knows of it. Beside a connection that stands it stays alone, since at some
// providers its end would be that of the other.
func TestWhatAnUnusableExchangeBroughtIsRevoked(t *testing.T) {
	for _, connected := range []bool{false, true} {
		t.Run(fmt.Sprint("connected: ", connected), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRevokeWorld(t)
				want := []string{"refresh_token"}
				if connected {
					w.connect(w.m)
					want = nil
				}
				w.provider.Script(oauthtest.Code, oauthtest.Unset("access_token"))
				started, err := w.m.Start(t.Context(), w.target, oauthflow.StartOptions{Principal: "alice", ReturnTo: "/back"})
				require.NoError(t, err)
				back, err := w.provider.Authorize(t.Context(), started.AuthorizationURL, "admin@acme.example")
				require.NoError(t, err)
				u, err := url.Parse(back)
				require.NoError(t, err)
				_, err = w.m.Callback(t.Context(), w.arriving(started, u.Query()))
				var ce *oauthflow.CallbackError
				require.ErrorAs(t, err, &ce)
				require.Equal(t, oauthflow.CallbackFailed, ce.Kind)
				pass(time.Minute)
				require.Equal(t, want, w.seen())
				require.Equal(t, len(want), w.dead())
			})
		})
	}
}
