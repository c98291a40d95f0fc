package oauthflow_test

import (
	"context"
	"net/http"
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

func TestTokenIsServedUntilItsMarginAndThenRenewedBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.delay = time.Second
		w.connect("g")
		w.requireToken(w.m, "AT1")
		pass(3600*time.Second - 62*time.Second)
		w.requireToken(w.m, "AT1")
		require.Empty(t, w.idp.refreshes())

		pass(20 * time.Second) // inside the margin, however it is jittered
		asked := time.Now()
		w.requireToken(w.m, "AT1")
		require.Zero(t, time.Since(asked), "nobody waits while the token is good")
		pass(2 * time.Second)
		w.requireToken(w.m, "AT2")
		require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
		require.Equal(t, []string{"connected", "refreshed"}, w.events())
		c := w.row()
		require.Equal(t, int64(2), c.Generation)
		require.False(t, c.LastRefreshAt.IsZero())
		require.Nil(t, c.Attempt)
	})
}

func TestTokenInItsLastMomentsWaitsALittleForTheNextOne(t *testing.T) {
	tests := map[string]struct {
		delay time.Duration // of the provider
		waits time.Duration
		want  string
	}{
		"quick provider": {time.Second, time.Second, "AT2"},
		"slow provider":  {10 * time.Second, 2 * time.Second, "AT1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.connect("g")
				w.idp.delay = tt.delay
				pass(3596 * time.Second) // four seconds are left
				asked := time.Now()
				w.requireToken(w.m, tt.want)
				require.Equal(t, tt.waits, time.Since(asked))
			})
		})
	}
}

func TestTenThousandGoroutinesMakeOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.delay = time.Second
		var wg sync.WaitGroup
		var wrong atomic.Int64
		for range 10_000 {
			wg.Go(func() {
				if got, err := w.token(w.m); err != nil || got != "AT2" {
					wrong.Add(1)
				}
			})
		}
		wg.Wait()
		require.Zero(t, wrong.Load())
		require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
	})
}

func TestEveryWaiterObeysItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.delay = 10 * time.Second
		var wg sync.WaitGroup
		asked := time.Now()
		for i := range 20 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i+1)*time.Second)
				defer cancel()
				_, err := w.m.Token(ctx, w.target)
				if i < 9 {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Equal(t, time.Duration(i+1)*time.Second, time.Since(asked))
				} else if i > 9 {
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		require.Len(t, w.idp.refreshes(), 1)
	})
}

func TestReplyIsKeptThoughTheCallerHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.delay = 5 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := w.m.Token(ctx, w.target)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		pass(5 * time.Second)
		require.Equal(t, int64(2), w.row().Generation)
		w.requireToken(w.m, "AT2")
		require.Len(t, w.idp.refreshes(), 1)
	})
}

func TestNothingIsSentForCallersWhoHaveGone(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, err := w.m.Token(ctx, w.target)
			require.ErrorIs(t, err, context.Canceled)
			_, err = w.m.Renew(ctx, w.target, oauthflow.AnyGeneration)
			require.ErrorIs(t, err, context.Canceled)
			synctest.Wait()
			require.Empty(t, w.idp.refreshes())
			require.Nil(t, w.row().Attempt)
		})
	})
	t.Run("while the connection is being made", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.idp.dial = func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(3 * time.Second):
					return nil
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := w.m.Token(ctx, w.target)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			pass(5 * time.Second)
			require.Empty(t, w.idp.refreshes())
			c := w.row()
			require.Nil(t, c.Attempt, "closed as not sent")
			require.Equal(t, tokenstore.Active, c.Status, "nobody's failure")
			w.idp.dial = nil
			w.requireToken(w.m, "AT2")
		})
	})
	t.Run("but the rest goes on if one leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.idp.dial = func(context.Context) error { pass(3 * time.Second); return nil }
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, _ = w.m.Token(ctx, w.target)
			}()
			w.requireToken(w.m, "AT2")
		})
	})
}

func TestConnectingTooSlowlySendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.dial = func(context.Context) error { pass(6 * time.Second); return nil }
		_, err := w.token(w.m)
		e := problem(t, err, oauthflow.ErrUnavailable)
		require.Positive(t, e.RetryAfter)
		require.Empty(t, w.idp.refreshes())
		require.Nil(t, w.row().Attempt)
	})
}

func TestUnknownLifetimeIsRenewedOnARejectionOnly(t *testing.T) {
	for _, lifetime := range []string{`null`, `""`, `0`, `true`, `"NaN"`, `1e40`} {
		t.Run(lifetime, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.idp.lifetime = lifetime
				w.connect("g")
				pass(1000 * time.Hour)
				w.requireToken(w.m, "AT1")
				require.Empty(t, w.idp.refreshes())
				s, err := w.m.Renew(context.Background(), w.target, 1)
				require.NoError(t, err)
				require.Equal(t, "AT2", s.AccessToken().Reveal())
				require.True(t, s.ExpiresAt().IsZero())
				pass(1000 * time.Hour)
				w.requireToken(w.m, "AT2")
				require.Len(t, w.idp.refreshes(), 1)
			})
		})
	}
}

func TestDefaultLifetimeAppliesWhereNoneIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.target.Client.DefaultLifetime = 10 * time.Minute
		w.idp.lifetime = "null"
		w.connect("g")
		pass(11 * time.Minute)
		w.requireToken(w.m, "AT2")
	})
}

func TestTokensThatHaveEndedOnArrivalAreAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.lifetime = "-5"
		w.connect("g")
		for range 50 { // ten minutes
			_, err := w.token(w.m)
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.Positive(t, e.RetryAfter)
			require.LessOrEqual(t, e.RetryAfter, time.Minute)
			pass(12 * time.Second)
		}
		require.LessOrEqual(t, len(w.idp.refreshes()), 10)
		require.GreaterOrEqual(t, len(w.idp.refreshes()), 8)
		w.idp.lifetime = ""
		pass(time.Minute)
		_, err := w.token(w.m)
		require.NoError(t, err)
		require.Equal(t, tokenstore.Active, w.row().Status)
	})
}

func TestRejectionsInParallelMakeOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.delay = time.Second
		w.connect("g")
		w.requireToken(w.m, "AT1")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				s, err := w.m.Renew(context.Background(), w.target, 1)
				if assert.NoError(t, err) {
					assert.Equal(t, "AT2", s.AccessToken().Reveal())
				}
			})
		}
		wg.Wait()
		s, err := w.m.Renew(context.Background(), w.target, 1) // a straggler
		require.NoError(t, err)
		require.Equal(t, int64(2), s.Generation())
		require.Len(t, w.idp.refreshes(), 1)
	})
}

func TestAPersonMayRenewAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.delay = time.Second
		w.connect("g")
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				s, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
				if assert.NoError(t, err) {
					assert.Equal(t, "AT2", s.AccessToken().Reveal())
				}
			})
		}
		wg.Wait()
		require.Len(t, w.idp.refreshes(), 1)

		// A failure is his to see, although the token is good for others.
		w.idp.set(func(p *idp) { p.answer = always(http.StatusUnauthorized, `{"error":"invalid_client"}`) })
		_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.Equal(t, "invalid_client", problem(t, err, oauthflow.ErrUnavailable).Code)
		w.requireToken(w.m, "AT2")
		// The pause that follows does not keep him from trying what he has mended.
		w.idp.set(func(p *idp) { p.answer = nil })
		_, err = w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)
		require.Equal(t, tokenstore.Active, w.row().Status)
	})
}

func TestNothingIsConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.token(w.m)
		e := problem(t, err, oauthflow.ErrNotConnected)
		require.Equal(t, w.target.Key, e.Key)
		_, err = w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		problem(t, err, oauthflow.ErrNotConnected)
		problem(t, w.m.Handle(w.target.Key).NotConnected(), oauthflow.ErrNotConnected)
	})
}
