package oauthflow_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestAnEndpointWithAnOpenBreakerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newBackground(t)
		w.connectOrgs(500)
		w.idp.set(func(p *idp) { p.answer = always(401, `{"error":"invalid_client"}`) })
		defer keepFresh(w.m)()
		pass(2 * time.Hour)
		require.Less(t, len(w.idp.refreshes()), 50, "of five hundred that are due")
		require.Equal(t, 1, w.m.Stats().OpenBreakers)
		w.idp.set(func(p *idp) { p.answer = nil })
		pass(3 * time.Hour)
		due, err := w.store.Due(t.Context(), 1000)
		require.NoError(t, err)
		require.Empty(t, due)
		require.Zero(t, w.m.Stats().OpenBreakers)
		require.GreaterOrEqual(t, len(w.idp.refreshes()), 500)
	})
}

// Who mends a client secret soon gets what was put off meanwhile renewed soon, and
// nobody waits for longer than half an hour.
func TestAMendedClientIsNotWaitedForLong(t *testing.T) {
	for took, soon := range map[time.Duration]time.Duration{
		2 * time.Minute: 8 * time.Minute, 10 * time.Minute: 31 * time.Minute, 30 * time.Hour: 31 * time.Minute,
	} {
		t.Run(took.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := newBackground(t)
				w.connectOrgs(100)
				w.idp.set(func(p *idp) { p.answer = always(401, `{"error":"invalid_client"}`) })
				defer keepFresh(w.m)()
				pass(55 * time.Minute) // five minutes before their access tokens end
				pass(took)
				refused := len(w.idp.refreshes())
				w.idp.set(func(p *idp) { p.answer = nil })
				s.set(func(t *oauthflow.Target) error {
					c := *t.Client
					c.ClientSecret = tokenstore.NewSecret("the new one")
					t.Client = &c
					return nil
				})
				pass(soon)
				// The few that found it out rest on their own account.
				require.GreaterOrEqual(t, len(w.idp.refreshes())-refused, 90)
			})
		})
	}
}

func TestWhatCannotBeRenewedIsNotDue(t *testing.T) {
	day := 24 * time.Hour
	tests := map[string]struct {
		change  func(w *world, s *targets)
		least   time.Duration // until it is looked at again; 0: never
		healing bool          // when the change is undone
	}{
		"the definition is gone": {func(_ *world, s *targets) {
			s.set(func(*oauthflow.Target) error { return fmt.Errorf("x: %w", oauthflow.ErrGone) })
		}, day, true},
		"nobody knows how": {func(_ *world, s *targets) {
			s.set(func(*oauthflow.Target) error { return errStore })
		}, 5 * time.Minute, true},
		"the definition is another": {func(_ *world, s *targets) {
			s.set(func(t *oauthflow.Target) error { t.EntityID = "other"; return nil })
		}, day - time.Hour, true},
		"client credentials": {func(_ *world, s *targets) {
			s.set(func(t *oauthflow.Target) error {
				c := *t.Client
				c.Flow = oauthflow.ClientCredentials
				t.Client = &c
				return nil
			})
		}, day - time.Hour, true},
		"disconnected": {func(w *world, _ *targets) {
			_, err := w.m.Disconnect(context.Background(), w.target, "bob")
			require.NoError(w.t, err)
		}, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := newBackground(t)
				w.connect("g")
				defer keepFresh(w.m)()
				tt.change(w, s)
				pass(time.Hour)
				require.Empty(t, w.idp.refreshes())
				due := w.row().DueAt
				if tt.least == 0 {
					require.Zero(t, due)
					return
				}
				require.Greater(t, time.Until(due), tt.least-10*time.Minute)
				s.set(nil)
				pass(3 * day)
				require.NotEmpty(t, w.idp.refreshes())
				require.Equal(t, tokenstore.Active, w.row().Status)
			})
		})
	}
}

// What keeps the background for a while from finding out how to renew a connection is
// no fault of the connection's: it is renewed as soon as one can.
func TestWhatCannotBeFoundOutJustNowStaysDue(t *testing.T) {
	for name, err := range map[string]error{
		"no answer in time":    fmt.Errorf("x: %w", context.DeadlineExceeded),
		"their store is away":  fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errStore}),
		"the keys are not had": fmt.Errorf("x: %w", tokenstore.ErrKeysAway),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := newBackground(t)
				all := w.connectOrgs(3)
				s.set(func(*oauthflow.Target) error { return err })
				stop := keepFresh(w.m)
				pass(7*24*time.Hour + time.Hour)
				require.Empty(t, w.idp.refreshes())
				for _, target := range all {
					c, err := w.store.Load(t.Context(), target.Key)
					require.NoError(t, err)
					require.True(t, c.DueAt.Before(time.Now()))
				}
				s.set(nil)
				pass(time.Minute)
				stop()
				require.Len(t, w.idp.refreshes(), 3)
				require.NotContains(t, w.logs.String(), "cannot be renewed in the background")
			})
		})
	}
}

func TestImportedConnectionsAreWalked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newBackground(t)
		w.idp.current = map[string]string{"g": "g/RT0"}
		defer keepFresh(w.m)()
		_, err := w.m.Import(t.Context(), w.target, oauthflow.Imported{Tokens: oauthflow.Tokens{RefreshToken: tokenstore.NewSecret("g/RT0")}})
		require.NoError(t, err)
		pass(10 * time.Second)
		require.Equal(t, []string{"g/RT0"}, w.idp.refreshes(), "its first access token")
	})
}

func TestAStoreThatIsAwayIsLeftInPeace(t *testing.T) {
	for name, definitions := range map[string]error{"and nothing else": nil, "with the definitions": errStore} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := newBackground(t)
				f := &faulty{Store: w.store}
				w.store = f
				w.m = w.background(s)
				w.connectOrgs(10)
				pass(2 * time.Hour)
				f.set(func(f *faulty) { f.load, f.update = errStore, errStore })
				s.set(func(*oauthflow.Target) error { return definitions })
				stop := keepFresh(w.m)
				pass(time.Minute)
				require.Empty(t, w.idp.refreshes())
				require.LessOrEqual(t, f.loads, 60)
				f.set(func(f *faulty) { f.load, f.update = nil, nil })
				s.set(nil)
				pass(time.Minute)
				stop()
				require.Len(t, w.idp.refreshes(), 10)
				require.NotContains(t, w.logs.String(), "cannot be renewed in the background")
			})
		})
	}
}

func TestKeepFreshEnds(t *testing.T) {
	before := goleak.IgnoreCurrent()
	w, _ := newBackground(t)
	w.idp.lifetime = "1"
	w.connectOrgs(20)
	w.idp.dial = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.m.KeepFresh(ctx) }()
	require.Eventually(t, func() bool { return w.m.Stats().Passes > 0 }, 5*time.Second, time.Millisecond)
	require.Error(t, w.m.KeepFresh(ctx), "one at a time")
	cancel()
	require.NoError(t, <-done)
	go func() { done <- w.m.KeepFresh(context.Background()) }()
	require.NoError(t, w.m.Close())
	require.NoError(t, <-done, "Close ends it")
	goleak.VerifyNone(t, before)

	_, err := oauthflow.New(oauthflow.Config{Store: w.store, Sealer: w.sealer, KeepAlive: -1})
	require.Error(t, err)
	m, err := oauthflow.New(oauthflow.Config{Store: w.store, Sealer: w.sealer})
	require.NoError(t, err)
	require.ErrorContains(t, m.KeepFresh(t.Context()), "Targets")
}

// A walk over all connections leaves none of them in memory; a caller who comes
// meanwhile shares its refresh.
func TestAWalkRemembersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newBackground(t)
		all := w.connectOrgs(50)
		pass(2 * time.Hour)
		w.idp.delay = 5 * time.Second
		walker := w.background(s)
		defer keepFresh(walker)()
		pass(3 * time.Second)
		require.Positive(t, walker.Known())
		under := w.idp.refreshes()
		require.Len(t, under, 14)
		_, err := walker.Token(t.Context(), all[0])
		require.NoError(t, err)
		pass(time.Minute)
		require.Len(t, w.idp.refreshes(), 50)
		require.Equal(t, 1, walker.Known(), "the one that somebody asked for")
	})
}

// What came from the provider and could not be stored stays in memory, whoever
// asked for it.
func TestAWalkRemembersWhatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newBackground(t)
		w.connect("g")
		pass(2 * time.Hour)
		f := &faulty{Store: w.store}
		walker := w.background(s, func(c *oauthflow.Config) { c.Store = f })
		w.idp.answer = func(url.Values) (int, string, error) {
			f.set(func(f *faulty) { f.update = errStore })
			return 0, "", nil
		}
		stop := keepFresh(walker)
		pass(2 * time.Minute)
		w.requireToken(walker, "AT2")
		require.Len(t, w.idp.refreshes(), 1)
		f.set(func(f *faulty) { f.update = nil })
		pass(time.Minute)
		stop()
		require.Equal(t, int64(2), w.row().Generation)
		require.Len(t, w.idp.refreshes(), 1, "never again")
	})
}
