package oauthflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// follow runs the watcher of m until the returned function is called.
func follow(m *oauthflow.Manager) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestWarmTokensNeedNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		h := w.m.Handle(w.target.Key)
		require.Same(t, h, w.m.Handle(w.target.Key))
		_, ok := h.Current()
		require.False(t, ok, "nobody follows changes")

		stop := follow(w.m)
		pass(time.Second)
		w.requireToken(w.m, "AT1")
		f.set(func(f *faulty) { f.loads = 0 })
		for range 100 {
			s, ok := h.Current()
			require.True(t, ok)
			require.Equal(t, "AT1", s.AccessToken().Reveal())
			w.requireToken(w.m, "AT1")
			pass(10 * time.Second)
		}
		require.Zero(t, f.loads)
		pass(44 * time.Minute)
		_, ok = h.Current()
		require.False(t, ok, "due")
		stop()
		_, ok = h.Current()
		require.False(t, ok, "nobody follows changes any more")
	})
}

func TestOtherProcessesChangesAreSeenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.process()
		defer follow(w.m)()
		pass(time.Second)
		h := w.m.Handle(w.target.Key)
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrNotConnected)
		s, ok := h.Current()
		require.True(t, ok)
		require.Nil(t, s, "known not to exist")

		w.m, other = other, w.m
		w.connect("g")
		pass(time.Second)
		_, ok = h.Current()
		require.False(t, ok, "known to have changed")
		w.requireToken(other, "AT1")
		_, err = w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		pass(time.Second)
		w.requireToken(other, "AT2")
		_, err = w.m.Disconnect(context.Background(), w.target, "bob")
		require.NoError(t, err)
		pass(time.Second)
		_, err = w.token(other)
		problem(t, err, oauthflow.ErrNotConnected)
	})
}

func TestWhatWasReadBeforeRunIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.requireToken(w.m, "AT1")
		_, err := w.process().Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		defer follow(w.m)() // the feed begins after that change
		pass(time.Second)
		_, ok := w.m.Handle(w.target.Key).Current()
		require.False(t, ok)
		w.requireToken(w.m, "AT2")
	})
}

// feed is a store whose change feed fails on demand.
type feed struct {
	tokenstore.Store
	fail atomic.Bool
}

func (q *feed) Changes(ctx context.Context, after int64, limit int) ([]tokenstore.Key, int64, error) {
	if q.fail.Load() {
		return nil, after, errStore
	}
	return q.Store.Changes(ctx, after, limit)
}

func TestWithoutTheChangeFeedEveryTokenIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q := &feed{Store: w.store}
		w.store = q
		other := w.m
		w.m = w.process()
		defer follow(w.m)()
		w.connect("g")
		pass(time.Second)
		w.requireToken(w.m, "AT1")
		_, ok := w.m.Handle(w.target.Key).Current()
		require.True(t, ok)

		q.fail.Store(true)
		pass(2 * time.Second)
		_, ok = w.m.Handle(w.target.Key).Current()
		require.False(t, ok)
		_, err := other.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		w.requireToken(w.m, "AT2")
		require.Contains(t, w.logs.String(), "change feed cannot be read")

		_, err = other.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		q.fail.Store(false)
		pass(time.Second)
		w.requireToken(w.m, "AT3")
		_, ok = w.m.Handle(w.target.Key).Current()
		require.True(t, ok)
	})
}

func TestRunRunsOnceAndEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ended := make(chan error, 1)
		go func() { ended <- w.m.Run(context.Background()) }()
		synctest.Wait()
		require.Error(t, w.m.Run(context.Background()))
		require.NoError(t, w.m.Close())
		require.NoError(t, <-ended)
	})
}

func TestChangedDefinitionsSendNothing(t *testing.T) {
	tests := map[string]struct {
		change func(*oauthflow.Target)
		reason string
	}{
		"entity":    {func(t *oauthflow.Target) { t.EntityID = "other" }, "entity_changed"},
		"client":    {func(t *oauthflow.Target) { t.Client.ClientID = "other" }, "client_changed"},
		"token URL": {func(t *oauthflow.Target) { t.Client.TokenURL = "https://evil.example.com/token" }, "definition_changed"},
		"a value of a URL's variable": {func(t *oauthflow.Target) {
			t.Client.Variables = map[string]oauthflow.Variable{"region": {Kind: oauthflow.Label}}
			t.Client.TokenURL = "https://{region}.example.com/{entity_id}/token"
			t.Values = map[string]string{"region": "eu"}
		}, "definition_changed"},
		"fingerprint": {func(t *oauthflow.Target) { t.Fingerprint = "f2" }, "definition_changed"},
		"refresh URL": {
			func(t *oauthflow.Target) { t.Client.RefreshURL = "https://evil.example.com/token" }, "definition_changed",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.target.Fingerprint = "f1"
				w.connect("g")
				require.Equal(t, "f1", w.row().Fingerprint)
				defer follow(w.m)()
				pass(time.Second)
				target := w.target
				client := *target.Client
				target.Client = &client
				tt.change(&target)
				reason, err := oauthflow.Changed(w.row(), target)
				require.NoError(t, err)
				require.Equal(t, tt.reason, reason)
				for range 2 {
					_, err = w.m.Token(context.Background(), target)
					require.Equal(t, tt.reason, problem(t, err, oauthflow.ErrReauthRequired).Reason)
					other := target
					other.Access.Scope = mail
					for _, target := range []oauthflow.Target{target, other} {
						_, err = w.m.Renew(context.Background(), target, oauthflow.AnyGeneration)
						require.Equal(t, tt.reason, problem(t, err, oauthflow.ErrReauthRequired).Reason)
						_, err = w.m.Renew(context.Background(), target, 1)
						require.Equal(t, tt.reason, problem(t, err, oauthflow.ErrReauthRequired).Reason)
					}
					_, err = w.m.Token(context.Background(), other)
					require.Equal(t, tt.reason, problem(t, err, oauthflow.ErrReauthRequired).Reason)
					_, ok := w.m.Handle(target.Key).Current()
					require.False(t, ok)
					pass(2 * time.Hour)
				}
				require.Equal(t, tokenstore.ReauthRequired, w.row().Status)
				require.Equal(t, tt.reason, w.row().Reason)
				require.Equal(t, []string{"connected", "reauth_required " + tt.reason}, w.events())
				revocation, err := w.process().Disconnect(context.Background(), target, "bob")
				require.NoError(t, err)
				require.Equal(t, oauthflow.RevocationFailed, revocation)
				require.Empty(t, w.idp.refreshes())
				require.Empty(t, w.idp.revocations())
			})
		})
	}
	t.Run("a fingerprint that one side does not have is not compared", func(t *testing.T) {
		for _, sides := range [][2]string{{"f1", ""}, {"", "f2"}} {
			w := newWorld(t)
			w.target.Fingerprint = sides[0]
			w.connect("g")
			w.target.Fingerprint = sides[1]
			w.requireToken(w.m, "AT1")
		}
	})
	t.Run("and a change taken back heals", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			target := w.target
			target.EntityID = "other"
			_, err := w.m.Token(context.Background(), target)
			problem(t, err, oauthflow.ErrReauthRequired)
			w.requireToken(w.m, "AT1")
			pass(2 * time.Hour)
			w.requireToken(w.m, "AT2")
			require.Equal(t, tokenstore.Active, w.row().Status)
		})
	})
	t.Run("an entity that fits no URL is said", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			target := w.target
			target.EntityID = ""
			_, err := w.m.Token(context.Background(), target)
			require.ErrorContains(t, err, "entity_id")
		})
	})
}

func TestDisconnect(t *testing.T) {
	ctx := context.Background()
	t.Run("nothing to disconnect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.m.Disconnect(ctx, w.target, "bob")
			problem(t, err, oauthflow.ErrNotConnected)
		})
	})
	t.Run("no revocation endpoint", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.target.Client.RevocationURL = ""
			w.connect("g")
			got, err := w.m.Disconnect(ctx, w.target, "bob")
			require.NoError(t, err)
			require.Equal(t, oauthflow.RevocationUnsupported, got)
			_, err = w.token(w.m)
			problem(t, err, oauthflow.ErrNotConnected)
		})
	})
	t.Run("the provider is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			w.idp.dial = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			asked := time.Now()
			got, err := w.m.Disconnect(ctx, w.target, "bob")
			require.NoError(t, err)
			require.Equal(t, oauthflow.RevocationPending, got)
			require.Zero(t, time.Since(asked), "nobody waits for it")
			require.False(t, w.row().Connected())
		})
	})
	t.Run("the store is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			f.set(func(f *faulty) { f.update = errStore })
			_, err := w.m.Disconnect(ctx, w.target, "bob")
			problem(t, err, oauthflow.ErrUnavailable)
			require.Empty(t, w.idp.revocations(), "what may still be connected is not revoked")
		})
	})
}

// warm is a handle with a fresh token and a watcher.
func warm(b testing.TB) *oauthflow.Handle {
	w := newWorld(b)
	w.connect("g")
	b.Cleanup(follow(w.m))
	h := w.m.Handle(w.target.Key)
	for ok := false; !ok; _, ok = h.Current() {
		_, err := w.token(w.m)
		require.NoError(b, err)
	}
	return h
}

func TestCurrentDoesNotAllocate(t *testing.T) {
	h := warm(t)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, ok := h.Current(); !ok {
			t.Error("not warm")
		}
	}))
}

// BenchmarkCurrent measures the warm path beside what one would use instead.
func BenchmarkCurrent(b *testing.B) {
	b.Run("bifrost", func(b *testing.B) {
		h := warm(b)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if s, _ := h.Current(); s == nil {
					b.Error("not warm")
				}
			}
		})
	})
	b.Run("oauth2.ReuseTokenSource", func(b *testing.B) {
		src := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "AT", Expiry: time.Now().Add(time.Hour)}, nil)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := src.Token(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func TestAlsoIsPartOfEachLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		var fails atomic.Bool
		w := newWorld(t, func(c *oauthflow.Config) {
			c.Also = func(ctx context.Context) error {
				looks.Add(1)
				if fails.Load() {
					return errStore
				}
				return ctx.Err()
			}
		})
		w.connect("g")
		w.requireToken(w.m, "AT1")
		require.False(t, w.m.Following(), "nobody follows")
		stop := follow(w.m)
		pass(time.Second)
		w.requireToken(w.m, "AT1")
		require.True(t, w.m.Following())
		before := looks.Load()
		pass(time.Second)
		require.InDelta(t, 4, looks.Load()-before, 1, "in the rhythm of the looks")

		fails.Store(true)
		pass(2 * time.Second)
		require.False(t, w.m.Following(), "half a look is none")
		_, ok := w.m.Handle(w.target.Key).Current()
		require.False(t, ok)
		_, err := w.process().Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		pass(time.Second)
		fails.Store(false)
		pass(time.Second)
		require.True(t, w.m.Following())
		w.requireToken(w.m, "AT2")
		require.Zero(t, testing.AllocsPerRun(100, func() { w.m.Following() }))
		stop()
		require.False(t, w.m.Following())
	})
}
