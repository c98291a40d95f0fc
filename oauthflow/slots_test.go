package oauthflow_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

const mail = "https://outlook.example.com/.default"

// scoped returns the world's target with another scope.
func (w *world) scoped(scope string) oauthflow.Target {
	t := w.target
	t.Access.Scope = scope
	return t
}

// requireScoped asks m for a scope's token and compares.
func (w *world) requireScoped(m *oauthflow.Manager, scope, want string) *oauthflow.Snapshot {
	w.t.Helper()
	s, err := m.Token(context.Background(), w.scoped(scope))
	require.NoError(w.t, err)
	require.Equal(w.t, want, s.AccessToken().Reveal())
	return s
}

// scopes returns what the refreshes so far asked for.
func (p *idp) scopes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, form := range p.requests {
		if form.Get("grant_type") == "refresh_token" {
			list = append(list, form.Get("scope"))
		}
	}
	return list
}

func TestAnotherScopesTokenStandsBesideTheGrantsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.extra = `,"scope":"read","instance_url":"https://one.example.com"`
		w.connect("g")
		before := w.row()
		w.idp.set(func(p *idp) {
			p.lifetime, p.extra = "600", `,"scope":"mail","instance_url":"https://two.example.com"`
		})
		pass(time.Minute)
		s := w.requireScoped(w.m, mail, "AT2")
		require.Equal(t, []string{mail}, w.idp.scopes())
		require.Equal(t, []string{"mail"}, s.Scopes())
		require.WithinDuration(t, time.Now().Add(10*time.Minute), s.ExpiresAt(), 0)
		raw, _ := s.Extra("instance_url")
		require.JSONEq(t, `"https://two.example.com"`, string(raw))

		c := w.row()
		require.Equal(t, int64(2), c.Generation, "the refresh token was rotated")
		require.Equal(t, before.ExpiresAt, c.ExpiresAt)
		require.Equal(t, before.ObtainedAt, c.ObtainedAt)
		require.Equal(t, before.DueAt, c.DueAt)
		require.Equal(t, []string{"read"}, c.ScopesGranted)
		require.Equal(t, tokenstore.Active, c.Status)
		require.Nil(t, c.Attempt)
		for _, m := range []*oauthflow.Manager{w.m, w.process()} {
			w.requireScoped(m, mail, "AT2")
			own, err := m.Token(context.Background(), w.target)
			require.NoError(t, err)
			require.Equal(t, "AT1", own.AccessToken().Reveal())
			require.Equal(t, []string{"read"}, own.Scopes())
			raw, _ = own.Extra("instance_url")
			require.JSONEq(t, `"https://one.example.com"`, string(raw), "not what the other reply said")
		}

		w.idp.set(func(p *idp) { p.lifetime = "" })
		pass(9*time.Minute + 20*time.Second) // inside the scope's own margin
		w.requireScoped(w.m, mail, "AT2")
		synctest.Wait()
		w.requireScoped(w.m, mail, "AT3")
		w.requireToken(w.m, "AT1")
		pass(50 * time.Minute)
		w.requireToken(w.m, "AT4")
		w.requireScoped(w.m, mail, "AT3")
		require.Equal(t, []string{"g/RT1", "g/RT2", "g/RT3"}, w.idp.refreshes())
		require.Equal(t, []string{mail, mail, ""}, w.idp.scopes())
	})
}

func TestScopesAskedForAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.delay = time.Second
		other := w.process()
		got := map[string]map[string]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 300 {
			scope, m := []string{"a", "b", ""}[i%3], []*oauthflow.Manager{w.m, other}[i%2]
			wg.Go(func() {
				s, err := m.Token(context.Background(), w.scoped(scope))
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if got[scope] == nil {
					got[scope] = map[string]bool{}
				}
				got[scope][s.AccessToken().Reveal()] = true
			})
		}
		wg.Wait()
		require.Len(t, w.idp.refreshes(), 2, "one for each scope, in whatever process")
		require.ElementsMatch(t, []string{"a", "b"}, w.idp.scopes())
		require.Equal(t, map[string]bool{"AT1": true}, got[""], "who wants the grant's own need not wait")
		require.Len(t, got["a"], 1)
		require.Len(t, got["b"], 1)
		require.NotEqual(t, got["a"], got["b"])
		require.Equal(t, tokenstore.Active, w.row().Status)
	})
}

func TestNothingIsSentForAScopeNobodyWaitsForAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.dial = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Second):
				return nil
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		go func() { _, _ = w.m.Token(ctx, w.scoped("a")) }()
		synctest.Wait()
		w.requireScoped(w.m, "b", "AT2")
		require.Equal(t, []string{"b"}, w.idp.scopes())
	})
}

func TestAScopesUnknownLifetimeAndRejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.lifetime = "null"
		s := w.requireScoped(w.m, mail, "AT2")
		require.True(t, s.ExpiresAt().IsZero())
		require.Equal(t, int64(2), s.Generation())
		w.requireScoped(w.m, "b", "AT3") // the refresh token's generation moves on
		pass(30 * time.Minute)
		s = w.requireScoped(w.m, mail, "AT2")
		require.Equal(t, int64(2), s.Generation(), "the one it came with")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				s, err := w.m.Renew(context.Background(), w.scoped(mail), 2)
				if assert.NoError(t, err) {
					assert.Equal(t, "AT4", s.AccessToken().Reveal())
				}
			})
		}
		wg.Wait()
		require.Len(t, w.idp.refreshes(), 3, "a hundred rejections make one refresh")

		// The grant's own token was rejected as well, though other slots moved on.
		own, err := w.m.Renew(context.Background(), w.target, 1)
		require.NoError(t, err)
		require.Equal(t, "AT5", own.AccessToken().Reveal())
		w.requireScoped(w.m, mail, "AT4")
		w.requireScoped(w.m, "b", "AT3")
	})
}

func TestAScopesTokenThatHadEndedIsAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.lifetime = "-5"
		for range 50 { // ten minutes
			_, err := w.process().Token(context.Background(), w.scoped(mail))
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.Contains(t, e.Message, mail)
			require.Positive(t, e.RetryAfter)
			require.LessOrEqual(t, e.RetryAfter, time.Minute)
			w.requireToken(w.m, "AT1")
			pass(12 * time.Second)
		}
		require.InDelta(t, 10, len(w.idp.refreshes()), 1)
		require.Equal(t, tokenstore.Active, w.row().Status)
		require.True(t, w.row().RetryAt.IsZero())
	})
}

func TestARefusedScopeLeavesTheConnectionAlone(t *testing.T) {
	for name, body := range map[string]string{
		"invalid_scope":    `{"error":"invalid_scope","error_description":"no such thing"}`,
		"invalid_target":   `{"error":"invalid_target","error_description":"no such thing"}`,
		"consent_required": `{"error":"invalid_grant","suberror":"consent_required","error_description":"no such thing"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.connect("g")
				w.idp.answer = always(400, body)
				for range 600 {
					_, err := w.m.Token(context.Background(), w.scoped(mail))
					e := problem(t, err, oauthflow.ErrUnavailable)
					require.Equal(t, tokenstore.Active, e.Status)
					require.Equal(t, "configuration", e.Reason)
					require.Contains(t, e.Message, mail)
					require.Contains(t, e.Message, "no such thing")
					require.Positive(t, e.RetryAfter)
					var te *oauthflow.TokenError
					require.ErrorAs(t, err, &te)
					w.requireToken(w.m, "AT1")
					pass(time.Second)
				}
				require.Less(t, len(w.idp.refreshes()), 12, "not on every call")
				c := w.row()
				require.Equal(t, tokenstore.Active, c.Status)
				require.Nil(t, c.LastError)
				require.Zero(t, c.Failures)
				require.True(t, c.RetryAt.IsZero())
				require.Nil(t, c.Attempt)
				require.Equal(t, int64(1), c.Generation)
				require.Equal(t, []string{"connected"}, w.events())

				w.idp.set(func(p *idp) { p.answer = nil })
				w.requireScoped(w.m, "other", "AT2")
				_, err := w.m.Renew(context.Background(), w.scoped(mail), oauthflow.AnyGeneration)
				require.NoError(t, err, "a person who has mended it need not wait")
				w.requireScoped(w.m, mail, "AT3")
			})
		})
	}
	t.Run("and a new grant is asked anew", func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.answer = always(400, `{"error":"invalid_scope"}`)
		_, err := w.m.Token(context.Background(), w.scoped(mail))
		require.Error(t, err)
		w.idp.set(func(p *idp) { p.answer = nil })
		w.connect("g2")
		w.requireScoped(w.m, mail, "AT3")
	})
}

func TestOtherFailuresOfAScopeAreTheConnections(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   tokenstore.Status
	}{
		"dead grant":     {400, `{"error":"invalid_grant"}`, tokenstore.ReauthRequired},
		"invalid_client": {401, `{"error":"invalid_client"}`, tokenstore.Degraded},
		"503":            {503, "", tokenstore.Degraded},
		"500":            {500, "", tokenstore.Degraded},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.connect("g")
				w.requireScoped(w.m, "good", "AT2")
				w.idp.answer = always(tt.status, tt.body)
				for range 3 {
					_, err := w.m.Token(context.Background(), w.scoped(mail))
					require.Error(t, err)
					require.Equal(t, tt.want, w.row().Status)
				}
				require.Len(t, w.idp.refreshes(), 2)
				w.requireToken(w.m, "AT1")
				w.requireScoped(w.m, "good", "AT2")
				if tt.want == tokenstore.ReauthRequired {
					return
				}
				// The next token shows that all is well again.
				w.idp.set(func(p *idp) { p.answer = nil })
				pass(time.Hour)
				w.requireScoped(w.m, mail, "AT3")
				require.Equal(t, tokenstore.Active, w.row().Status)
				require.False(t, w.row().DueAt.IsZero())
			})
		})
	}
}

func TestAScopeNeedsARefreshToken(t *testing.T) {
	w := newWorld(t)
	w.idp.answer = always(200, `{"access_token":"AT1","expires_in":3600}`)
	w.connect("g")
	before := w.row()
	_, err := w.m.Token(context.Background(), w.scoped(mail))
	e := problem(t, err, oauthflow.ErrReauthRequired)
	require.Equal(t, oauthflow.ReasonNoRefreshToken, e.Reason)
	require.Equal(t, tokenstore.Active, e.Status)
	require.Contains(t, e.Message, mail)
	require.Equal(t, before.Version, w.row().Version)
	w.requireToken(w.m, "AT1")
}

func TestAccessThatCannotBeAskedFor(t *testing.T) {
	w := newWorld(t)
	w.connect("g")
	for name, access := range map[string]oauthflow.Access{
		"long scope":     {Scope: strings.Repeat("a", 2<<10+1)},
		"long audience":  {Audience: strings.Repeat("a", 2<<10+1)},
		"line break":     {Scope: "a\nb"},
		"NUL":            {Audience: "a\x00"},
		"no UTF-8":       {Scope: "\xff"},
		"two spaces":     {Scope: "a  b"},
		"nothing but it": {Scope: " "},
	} {
		target := w.target
		target.Access = access
		require.Error(t, access.Validate(), name)
		_, err := w.m.Token(context.Background(), target)
		problem(t, err, oauthflow.ErrUnavailable)
		_, err = w.m.Renew(context.Background(), target, oauthflow.AnyGeneration)
		problem(t, err, oauthflow.ErrUnavailable)
		_, ok := w.m.Source(target).Current()
		require.False(t, ok)
	}
	require.Empty(t, w.idp.refreshes())
}

func TestWhatIsAskedForAnotherScope(t *testing.T) {
	w := newWorld(t)
	w.target.Client.ScopeSeparator = ","
	w.target.Client.RefreshParams = url.Values{"scope": {"own"}, "audience": {"own"}, "x": {"y"}}
	w.connect("g")
	target := w.target
	for _, tt := range []struct {
		access          oauthflow.Access
		scope, audience []string
	}{
		{oauthflow.Access{Scope: "a b"}, []string{"a,b"}, nil},
		{oauthflow.Access{Audience: "https://api"}, nil, []string{"https://api"}},
		{oauthflow.Access{Scope: "a", Audience: "b"}, []string{"a"}, []string{"b"}},
	} {
		target.Access = tt.access
		_, err := w.m.Token(context.Background(), target)
		require.NoError(t, err)
		form := w.idp.requests[len(w.idp.requests)-1]
		require.Equal(t, tt.scope, form["scope"])
		require.Equal(t, tt.audience, form["audience"])
		require.Equal(t, []string{"y"}, form["x"])
	}
	require.Len(t, w.idp.refreshes(), 3, "each has a slot of its own")
	_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
	require.NoError(t, err)
	require.Equal(t, []string{"own"}, w.idp.requests[len(w.idp.requests)-1]["scope"])
}

func TestTheOldestOfTooManyScopesIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.lifetime = "86400"
		w.connect("g")
		for i := range 33 {
			w.requireScoped(w.m, fmt.Sprint("s", i), fmt.Sprint("AT", i+2))
			pass(time.Second)
		}
		for i := 32; i > 0; i-- {
			w.requireScoped(w.m, fmt.Sprint("s", i), fmt.Sprint("AT", i+2))
		}
		w.requireToken(w.m, "AT1")
		require.Len(t, w.idp.refreshes(), 33)
		w.requireScoped(w.m, "s0", "AT35")
	})
}

func TestARejectedScopeOfADeadGrantLeavesTheOwnTokenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		s := w.requireScoped(w.m, mail, "AT2")
		w.idp.answer = always(400, `{"error":"invalid_grant"}`)
		_, err := w.m.Renew(context.Background(), w.scoped(mail), s.Generation())
		problem(t, err, oauthflow.ErrReauthRequired)
		w.requireToken(w.m, "AT1")
		require.True(t, w.row().ExpiresAt.After(w.row().ReadAt))
	})
}
