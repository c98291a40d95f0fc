package oauthflow_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestRenewWithoutARefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.answer = always(http.StatusOK, `{"access_token":"AT1","expires_in":3600}`)
		w.connect("g")
		w.requireToken(w.m, "AT1")
		pass(time.Hour)
		_, err := w.token(w.m)
		e := problem(t, err, oauthflow.ErrReauthRequired)
		require.Equal(t, "no_refresh_token", e.Reason)
		require.Equal(t, tokenstore.ReauthRequired, w.row().Status)
		require.Empty(t, w.idp.refreshes())
	})
}

func TestRefreshTokenStaysWhereTheProviderSendsNoNewOne(t *testing.T) {
	for name, member := range map[string]string{"absent": ``, "empty": `,"refresh_token":""`, "null": `,"refresh_token":null`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.connect("g")
				n := 1
				w.idp.answer = func(url.Values) (int, string, error) {
					n++
					return http.StatusOK, fmt.Sprintf(`{"access_token":"AT%d","expires_in":60%s}`, n, member), nil
				}
				pass(2 * time.Hour)
				w.requireToken(w.m, "AT2")
				pass(time.Minute)
				w.requireToken(w.m, "AT3")
				require.Equal(t, []string{"g/RT1", "g/RT1"}, w.idp.refreshes())
			})
		})
	}
}

func TestNewRefreshTokenBesideAnUnusableAccessTokenIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.answer = always(http.StatusOK, `{"access_token":17,"refresh_token":"g/RT2"}`)
		_, err := w.token(w.m)
		var te *oauthflow.TokenError
		problem(t, err, oauthflow.ErrUnavailable)
		require.ErrorAs(t, err, &te)
		c := w.row()
		require.Equal(t, int64(2), c.Generation)
		require.Equal(t, tokenstore.Degraded, c.Status)
		require.False(t, c.HasAccessToken)
		require.True(t, c.HasRefreshToken)
		require.Nil(t, c.Attempt)

		w.idp.set(func(p *idp) { p.answer, p.current["g"] = nil, "g/RT2" })
		pass(time.Minute)
		w.requireToken(w.m, "AT2")
		require.Equal(t, []string{"g/RT1", "g/RT2"}, w.idp.refreshes())
		require.Equal(t, tokenstore.Active, w.row().Status)
	})
}

func TestExtraMembersSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.extra = `,"instance_url":"https://eu1.example.com","team":{"id":7}`
		w.connect("g")
		w.idp.extra = `,"team":{"id":8}`
		pass(2 * time.Hour)
		s, err := w.process().Token(context.Background(), w.target)
		require.NoError(t, err)
		team, ok := s.Extra("team")
		require.True(t, ok)
		require.JSONEq(t, `{"id":8}`, string(team))
		u, ok := s.Extra("instance_url")
		require.True(t, ok)
		require.JSONEq(t, `"https://eu1.example.com"`, string(u))
		u[1] = 'X'
		again, _ := s.Extra("instance_url")
		require.JSONEq(t, `"https://eu1.example.com"`, string(again), "what is handed out is a copy")
		_, ok = s.Extra("refresh_token")
		require.False(t, ok)
		require.Equal(t, "Bearer", s.TokenType())
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", s, s, *s), "AT2")
	})
}

func TestALongRefreshTokenIsKeptWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		long := "g/" + strings.Repeat("x", 16<<10)
		w.idp.answer = always(http.StatusOK, `{"access_token":"AT2","expires_in":60,"refresh_token":"`+long+`"}`)
		w.requireToken(w.m, "AT2")
		pass(time.Minute)
		w.requireToken(w.process(), "AT2")
		require.Equal(t, []string{"g/RT1", long}, w.idp.refreshes())
	})
}

// A token keeps the generation it came with, whether it was read or is the one in hand.
func TestGenerationOfATokenInHandStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")
		other := w.target
		other.Access = oauthflow.Access{Scope: "write"}
		s, err := w.m.Token(context.Background(), other)
		require.NoError(t, err)
		require.Equal(t, int64(3), s.Generation())
		for _, m := range []*oauthflow.Manager{w.m, w.process()} {
			s, err = m.Token(context.Background(), w.target)
			require.NoError(t, err)
			require.Equal(t, "AT2", s.AccessToken().Reveal())
			require.Equal(t, int64(2), s.Generation())
		}
		s, err = w.m.Renew(context.Background(), w.target, 2)
		require.NoError(t, err)
		require.Equal(t, "AT4", s.AccessToken().Reveal())
	})
}
