package oauthflow_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// newMinter is a world whose target has client credentials.
func newMinter(t testing.TB, change ...func(*oauthflow.Config)) *world {
	w := newWorld(t, change...)
	w.target.Client.Flow = oauthflow.ClientCredentials
	w.target.Client.AuthorizationURL, w.target.Client.RefreshURL = "", "https://never.example.com/"
	require.NoError(t, w.target.Client.Validate())
	return w
}

// mints returns the client credentials requests so far.
func (p *idp) mints() []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []url.Values
	for _, form := range p.requests {
		if form.Get("grant_type") == "client_credentials" {
			list = append(list, form)
		}
	}
	return list
}

// ask returns the token of a target.
func (w *world) ask(t oauthflow.Target) (*oauthflow.Snapshot, error) {
	return w.m.Token(context.Background(), t)
}

func TestMintRequests(t *testing.T) {
	base := func() url.Values {
		return url.Values{"grant_type": {"client_credentials"}, "client_id": {"client"}, "client_secret": {"canary-client-secret"}, "scope": {"read"}}
	}
	for name, tt := range map[string]struct {
		change func(*oauthflow.Target)
		want   func(url.Values)
	}{
		"plain":    {},
		"scopes":   {func(t *oauthflow.Target) { t.Client.Scopes = []string{"a", "b"} }, func(v url.Values) { v.Set("scope", "a b") }},
		"none":     {func(t *oauthflow.Target) { t.Client.Scopes = nil }, func(v url.Values) { v.Del("scope") }},
		"audience": {func(t *oauthflow.Target) { t.Client.Audience = "api" }, func(v url.Values) { v.Set("audience", "api") }},
		"separator": {
			func(t *oauthflow.Target) { t.Client.Scopes, t.Client.ScopeSeparator = []string{"a", "b"}, "," },
			func(v url.Values) { v.Set("scope", "a,b") },
		},
		"another scope": {
			func(t *oauthflow.Target) { t.Access.Scope, t.Client.ScopeSeparator = "x y", "," },
			func(v url.Values) { v.Set("scope", "x,y") },
		},
		"another audience": {
			func(t *oauthflow.Target) { t.Client.Audience, t.Access.Audience = "api", "other" },
			func(v url.Values) { v.Set("audience", "other") },
		},
		"parameters": {
			func(t *oauthflow.Target) {
				t.Client.TokenParams = url.Values{"resource": {"r"}, "audience": {"usual"}, "grant_type": {"own"}, "scope": {"no"}}
			},
			func(v url.Values) {
				v.Set("resource", "r")
				v.Set("audience", "usual")
				v.Set("grant_type", "own")
			},
		},
		"parameters give way to what is asked for": {
			func(t *oauthflow.Target) {
				t.Client.TokenParams = url.Values{"audience": {"usual"}}
				t.Access.Audience = "other"
			},
			func(v url.Values) { v.Set("audience", "other") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newMinter(t)
			if tt.change != nil {
				tt.change(&w.target)
			}
			want := base()
			if tt.want != nil {
				tt.want(want)
			}
			w.requireToken(w.m, "AT1")
			require.Equal(t, []url.Values{want}, w.idp.requests)
		})
	}
}

func TestAHundredCallersMintOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.delay, w.idp.extra = time.Second, `,"scope":"granted","instance_url":"https://i.example.com"`
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				s, err := w.ask(w.target)
				if assert.NoError(t, err) {
					assert.Equal(t, "AT1", s.AccessToken().Reveal())
				}
			})
		}
		wg.Wait()
		require.Len(t, w.idp.mints(), 1)

		s, err := w.ask(w.target)
		require.NoError(t, err)
		require.Equal(t, w.target.Key, s.Key())
		require.Equal(t, "common", s.EntityID())
		require.Equal(t, "Bearer", s.TokenType())
		require.Equal(t, []string{"granted"}, s.Scopes())
		require.Equal(t, 3599*time.Second, time.Until(s.ExpiresAt()), "from before the request was sent")
		raw, ok := s.Extra("instance_url")
		require.True(t, ok)
		require.JSONEq(t, `"https://i.example.com"`, string(raw))

		c := w.row()
		require.True(t, c.Connected())
		require.Equal(t, s.GrantID(), c.GrantID)
		require.Equal(t, tokenstore.Active, c.Status)
		require.Nil(t, c.Sealed, "tokens stay in memory")
		require.False(t, c.HasAccessToken || c.HasRefreshToken)
		require.Zero(t, c.Generation)
		require.Equal(t, s.ExpiresAt().UnixNano(), c.ExpiresAt.UnixNano())
		require.Equal(t, c.ObtainedAt, c.ExpiresAt.Add(-time.Hour))
		require.False(t, c.LastRefreshAt.IsZero())
		require.True(t, c.DueAt.IsZero())
		require.Equal(t, []string{"common", "client", "https://login.example.com/common/token"}, []string{c.EntityID, c.ClientID, c.TokenHost})
		require.Equal(t, []string{"read"}, c.ScopesRequested)
		require.Equal(t, []string{"granted"}, c.ScopesGranted)
		require.Equal(t, []string{"minted"}, w.events())
	})
}

func TestAMintedTokenIsServedUntilItsMarginAndThenRenewedBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.delay = time.Second
		w.requireToken(w.m, "AT1")
		pass(3599*time.Second - 62*time.Second)
		w.requireToken(w.m, "AT1")
		require.Len(t, w.idp.mints(), 1)

		pass(20 * time.Second) // inside the margin, however it is jittered
		asked := time.Now()
		for range 100 {
			w.requireToken(w.m, "AT1")
		}
		require.Zero(t, time.Since(asked), "nobody waits while the token is good")
		pass(2 * time.Second)
		w.requireToken(w.m, "AT2")
		require.Len(t, w.idp.mints(), 2)
		require.Equal(t, []string{"minted"}, w.events(), "what happens every hour is no news")

		w.idp.delay = 500 * time.Millisecond
		pass(3600*time.Second - 4*time.Second)
		w.requireToken(w.m, "AT3") // in its very last moments the next one is waited for
	})
}

func TestEveryMintWaiterObeysItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.delay = 5 * time.Second
		asked := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := w.m.Token(ctx, w.target)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(asked))
		pass(5 * time.Second)
		w.requireToken(w.m, "AT1") // what was sent was read and kept
		require.Len(t, w.idp.mints(), 1)
	})
}

func TestNothingIsMintedForCallersWhoHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := w.m.Token(gone, w.target)
		require.ErrorIs(t, err, context.Canceled)
		_, err = w.m.Renew(gone, w.target, oauthflow.AnyGeneration)
		require.ErrorIs(t, err, context.Canceled)

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
		_, err = w.m.Token(ctx, w.target)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		pass(5 * time.Second)
		require.Empty(t, w.idp.mints())
		require.Zero(t, w.row().Version, "nobody's failure")
		w.requireToken(w.m, "AT1")
	})
}

func TestAMintedTokenOfUnknownLifetimeIsUsedUntilARejection(t *testing.T) {
	for _, lifetime := range []string{`null`, `""`, `0`, `true`, `"NaN"`, `1e40`} {
		t.Run(lifetime, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newMinter(t)
				w.idp.lifetime = lifetime
				s, err := w.ask(w.target)
				require.NoError(t, err)
				pass(20 * time.Hour)
				w.requireToken(w.m, "AT1")
				next, err := w.m.Renew(context.Background(), w.target, s.Generation())
				require.NoError(t, err)
				require.Equal(t, "AT2", next.AccessToken().Reveal())
				require.True(t, next.ExpiresAt().IsZero())
				pass(20 * time.Hour)
				w.requireToken(w.m, "AT2")
				require.Len(t, w.idp.mints(), 2)
			})
		})
	}
}

func TestMintedTokensThatHaveEndedOnArrivalAreAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.lifetime = "-5"
		for range 50 { // ten minutes
			_, err := w.token(w.m)
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.Equal(t, "expired_on_arrival", e.Code)
			require.Positive(t, e.RetryAfter)
			require.LessOrEqual(t, e.RetryAfter, time.Minute)
			pass(12 * time.Second)
		}
		require.Len(t, w.idp.mints(), 10)
		require.Equal(t, tokenstore.Degraded, w.row().Status)
		w.idp.lifetime = ""
		pass(time.Minute)
		w.requireToken(w.m, "AT11")
		require.Equal(t, tokenstore.Active, w.row().Status)
		require.Equal(t, []string{"minted", "healed"}, w.events())
	})
}

func TestRejectionsInParallelMintOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.delay = time.Second
		s, err := w.ask(w.target)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				next, err := w.m.Renew(context.Background(), w.target, s.Generation())
				if assert.NoError(t, err) {
					assert.Equal(t, "AT2", next.AccessToken().Reveal())
				}
			})
		}
		wg.Wait()
		next, err := w.m.Renew(context.Background(), w.target, s.Generation()) // a straggler
		require.NoError(t, err)
		require.Greater(t, next.Generation(), s.Generation())
		require.Len(t, w.idp.mints(), 2)
	})
}

func TestAPersonMayMintAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.delay = time.Second
		w.requireToken(w.m, "AT1")
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
		require.Len(t, w.idp.mints(), 2)

		w.idp.set(func(p *idp) { p.answer = always(http.StatusUnauthorized, `{"error":"invalid_client"}`) })
		_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.Equal(t, "invalid_client", problem(t, err, oauthflow.ErrUnavailable).Code)
		w.requireToken(w.m, "AT2") // which is good for others
		w.idp.set(func(p *idp) { p.answer = nil })
		_, err = w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err, "the pause does not keep anybody from trying what he has mended")
		require.Equal(t, []string{"minted", "refresh_failed invalid_client", "healed"}, w.events())
	})
}
