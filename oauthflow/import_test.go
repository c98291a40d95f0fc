package oauthflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func elsewhere(access, refresh string, left time.Duration) oauthflow.Imported {
	tok := oauthflow.Imported{Actor: "root"}
	tok.AccessToken, tok.RefreshToken = tokenstore.NewSecret(access), tokenstore.NewSecret(refresh)
	if left != 0 {
		tok.ExpiresAt = time.Now().Add(left)
	}
	return tok
}

func TestImportedTokensAreServedAndRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		_, err := w.m.Disconnect(context.Background(), w.target, "bob")
		require.NoError(t, err)
		synctest.Wait()                                     // it is revoked
		f.set(func(f *faulty) { f.skew = 5 * time.Minute }) // the store's clock is another
		w.idp.current = map[string]string{"old": "old/RT"}
		w.target.Fingerprint = "f1"
		tok := elsewhere("AT-old", "old/RT", 10*time.Minute)
		tok.Scopes, tok.TokenType = []string{"read"}, "bearer"
		tok.Extra = map[string]json.RawMessage{
			"instance_url": json.RawMessage(`"https://one"`), "refresh_token": json.RawMessage(`"old/RT"`),
			"id_token": json.RawMessage(`"` + idToken(map[string]any{"sub": "ann", "email": "ann@example.com"}) + `"`),
		}
		c, err := w.m.Import(context.Background(), w.target, tok)
		require.NoError(t, err)
		require.Empty(t, w.idp.refreshes(), "nothing is sent")
		require.Equal(t, tokenstore.Active, c.Status)
		require.Equal(t, int64(3), c.Generation)
		require.Equal(t, "ann", c.AccountID)
		require.Equal(t, "ann@example.com", c.AccountName)
		require.Equal(t, "root", c.ConnectedBy)
		require.Equal(t, []string{"read"}, c.ScopesGranted)
		require.Equal(t, "f1", c.Fingerprint)
		require.False(t, c.DueAt.IsZero())
		s, err := w.m.Token(context.Background(), w.target)
		require.NoError(t, err)
		require.Equal(t, "AT-old", s.AccessToken().Reveal())
		require.Equal(t, "Bearer", s.TokenType())
		require.WithinDuration(t, time.Now().Add(10*time.Minute), s.ExpiresAt(), time.Second)
		_, ok := s.Extra("refresh_token")
		require.False(t, ok)
		_, ok = s.Extra("instance_url")
		require.True(t, ok)
		require.Equal(t, []string{"connected", "disconnected", "revoked", "connected imported"}, w.events())
		f.set(func(f *faulty) { f.skew = 0 })
		pass(time.Hour)
		w.requireToken(w.m, "AT2")
		require.Equal(t, []string{"old/RT"}, w.idp.refreshes())
		require.NotContains(t, w.logs.String(), "AT-old")
	})
}

func TestImportingARefreshTokenAlone(t *testing.T) {
	for name, tok := range map[string]oauthflow.Imported{
		"no access token":    elsewhere("", "old/RT", 0),
		"one that has ended": elsewhere("AT-old", "old/RT", -time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if !tok.ExpiresAt.IsZero() {
					tok.ExpiresAt = time.Now().Add(-time.Minute)
				}
				w.idp.current = map[string]string{"old": "old/RT"}
				c, err := w.m.Import(context.Background(), w.target, tok)
				require.NoError(t, err)
				require.Equal(t, tokenstore.Active, c.Status)
				require.False(t, c.HasAccessToken)
				due, err := w.store.Due(context.Background(), 10)
				require.NoError(t, err)
				require.Equal(t, []tokenstore.Key{w.target.Key}, due)
				w.requireToken(w.m, "AT1")
			})
		})
	}
}

func TestImportDoesNotReplaceUnlessTold(t *testing.T) {
	w := newWorld(t)
	w.connect("g")
	before := w.row()
	tok := elsewhere("AT-old", "old/RT", time.Hour)
	_, err := w.m.Import(context.Background(), w.target, tok)
	require.ErrorIs(t, err, oauthflow.ErrConnected)
	require.Equal(t, before.Version, w.row().Version)
	w.requireToken(w.m, "AT1")
	tok.Replace, tok.AccountID, tok.AccountName = true, "42", "Ann"
	c, err := w.m.Import(context.Background(), w.target, tok)
	require.NoError(t, err)
	require.NotEqual(t, before.GrantID, c.GrantID)
	require.Equal(t, int64(2), c.Generation)
	require.Equal(t, []string{"42", "Ann"}, []string{c.AccountID, c.AccountName})
	w.requireToken(w.m, "AT-old")
	tok.AccountID = "43"
	_, err = w.m.Import(context.Background(), w.target, tok)
	require.NoError(t, err, "whoever's account it is")
}

func TestImportRefusesWhatCannotWork(t *testing.T) {
	good := elsewhere("AT", "RT", time.Hour)
	tests := map[string]func(*oauthflow.Imported, *oauthflow.Target){
		"nothing":                     func(i *oauthflow.Imported, _ *oauthflow.Target) { i.Tokens = oauthflow.Tokens{} },
		"an ended access token alone": func(i *oauthflow.Imported, _ *oauthflow.Target) { *i = elsewhere("canary", "", -time.Hour) },
		"control characters":          func(i *oauthflow.Imported, _ *oauthflow.Target) { i.AccessToken = tokenstore.NewSecret("canary\n") },
		"a refresh token with NUL":    func(i *oauthflow.Imported, _ *oauthflow.Target) { i.RefreshToken = tokenstore.NewSecret("canary\x00") },
		"no UTF-8":                    func(i *oauthflow.Imported, _ *oauthflow.Target) { i.AccessToken = tokenstore.NewSecret("canary\xff") },
		"a huge token": func(i *oauthflow.Imported, _ *oauthflow.Target) {
			i.AccessToken = tokenstore.NewSecret(strings.Repeat("canary", 1<<20))
		},
		"a token type with line breaks": func(i *oauthflow.Imported, _ *oauthflow.Target) { i.TokenType = "a\r\nb" },
		"extra that is no JSON": func(i *oauthflow.Imported, _ *oauthflow.Target) {
			i.Extra = map[string]json.RawMessage{"x": []byte("canary")}
		},
		"client credentials":         func(_ *oauthflow.Imported, t *oauthflow.Target) { t.Client.Flow = oauthflow.ClientCredentials },
		"another scope's":            func(_ *oauthflow.Imported, t *oauthflow.Target) { t.Access.Scope = "a" },
		"a URL that cannot be built": func(_ *oauthflow.Imported, t *oauthflow.Target) { t.EntityID = "../evil" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tok, target := good, w.target
			change(&tok, &target)
			_, err := w.m.Import(context.Background(), target, tok)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "canary")
			require.Zero(t, w.row().Version)
		})
	}
	t.Run("a store that is away", func(t *testing.T) {
		w, f := flaky(t)
		f.set(func(f *faulty) { f.update = errStore })
		tok := good
		tok.Replace = true
		_, err := w.m.Import(context.Background(), w.target, tok)
		problem(t, err, oauthflow.ErrUnavailable)
	})
}

func TestExport(t *testing.T) {
	ctx := context.Background()
	t.Run("everything there is", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.idp.extra = `,"scope":"read","instance_url":"https://one"`
			w.connect("g")
			w.requireScoped(w.m, mail, "AT2")
			tok, err := w.m.Export(ctx, w.target, "root")
			require.NoError(t, err)
			require.Equal(t, "AT1", tok.AccessToken.Reveal())
			require.Equal(t, "g/RT2", tok.RefreshToken.Reveal())
			require.Equal(t, []string{"read"}, tok.Scopes)
			require.WithinDuration(t, time.Now().Add(time.Hour), tok.ExpiresAt, time.Second)
			require.Contains(t, tok.Extra, "instance_url")
			require.Equal(t, "exported", w.events()[2])
			for _, printed := range []string{every(*tok), every(tok), every(oauthflow.Imported{Tokens: *tok}), w.logs.String()} {
				require.NotContains(t, printed, "g/RT2")
				require.NotContains(t, printed, "https://one")
			}

			// What was exported can be imported.
			other := newWorld(t)
			_, err = other.m.Import(ctx, other.target, oauthflow.Imported{Tokens: *tok})
			require.NoError(t, err)
			other.requireToken(other.m, "AT1")
		})
	})
	t.Run("nothing is connected", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.m.Export(ctx, w.target, "root")
		problem(t, err, oauthflow.ErrNotConnected)
	})
	t.Run("a dead grant", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			w.idp.answer = always(400, `{"error":"invalid_grant"}`)
			_, err := w.m.Renew(ctx, w.target, oauthflow.AnyGeneration)
			require.Error(t, err)
			_, err = w.m.Export(ctx, w.target, "root")
			problem(t, err, oauthflow.ErrReauthRequired)
		})
	})
	t.Run("waits for a refresh of this process", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			w.idp.delay = 5 * time.Second
			go func() { _, _ = w.m.Renew(ctx, w.target, oauthflow.AnyGeneration) }()
			synctest.Wait()
			soon, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := w.m.Export(soon, w.target, "root")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = w.process().Export(ctx, w.target, "root")
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.Contains(t, e.Message, "refresh")
			require.Positive(t, e.RetryAfter)
			tok, err := w.m.Export(ctx, w.target, "root")
			require.NoError(t, err)
			require.Equal(t, "g/RT2", tok.RefreshToken.Reveal())
		})
	})
	t.Run("not with an outcome unknown or unsaved", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			w.idp.answer = lost
			_, err := w.m.Renew(ctx, w.target, oauthflow.AnyGeneration)
			require.Error(t, err)
			pass(10 * time.Minute)
			_, err = w.m.Export(ctx, w.target, "root")
			problem(t, err, oauthflow.ErrUnavailable)
			pass(time.Hour)
			w.idp.answer = func(url.Values) (int, string, error) {
				f.set(func(f *faulty) { f.update = errStore })
				w.idp.answer = nil
				return 0, "", nil
			}
			w.requireToken(w.m, "AT2")
			_, err = w.m.Export(ctx, w.target, "root")
			require.Equal(t, "store_not_writable", problem(t, err, oauthflow.ErrUnavailable).Reason)
			f.set(func(f *faulty) { f.load = errStore })
			_, err = w.m.Export(ctx, w.target, "root")
			require.True(t, errors.Is(err, oauthflow.ErrUnavailable), "%v", err)
		})
	})
}

// awayAfter is a store that is away once it has written something.
type awayAfter struct{ *faulty }

func (s awayAfter) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	c, err := s.faulty.Update(ctx, key, change)
	s.set(func(f *faulty) { f.load = errStore })
	return c, err
}

// What was written need not be read again to be known.
func TestAnImportThatWasStoredIsNoError(t *testing.T) {
	w := newWorld(t)
	m := w.process(func(c *oauthflow.Config) { c.Store = awayAfter{&faulty{Store: w.store}} })
	c, err := m.Import(t.Context(), w.target, oauthflow.Imported{
		Tokens: oauthflow.Tokens{RefreshToken: tokenstore.NewSecret("g/RT0")}, Actor: "bob",
	})
	require.NoError(t, err)
	require.Equal(t, w.row().GrantID, c.GrantID)
	require.True(t, c.Connected())
	require.True(t, c.HasRefreshToken)
}
