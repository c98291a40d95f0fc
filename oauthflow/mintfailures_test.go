package oauthflow_test

import (
	"context"
	"fmt"
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

func TestMintFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		answer  func(url.Values) (int, string, error)
		dial    error
		class   oauthflow.Class
		code    string
		message string
		least   time.Duration // of the pause
	}{
		"client":         {answer: always(401, `{"error":"invalid_client"}`), class: oauthflow.ClassOperator, code: "invalid_client", message: "check client id, client secret", least: 30 * time.Second},
		"not allowed":    {answer: always(400, `{"error":"unauthorized_client"}`), class: oauthflow.ClassOperator, code: "unauthorized_client", message: "check client id", least: 30 * time.Second},
		"dead":           {answer: always(400, `{"error":"invalid_grant"}`), class: oauthflow.ClassOperator, code: "invalid_grant", message: "check client id", least: 30 * time.Second},
		"scope":          {answer: always(400, `{"error":"invalid_scope"}`), class: oauthflow.ClassConfiguration, code: "invalid_scope", message: "check the scopes: read", least: 30 * time.Second},
		"unknown code":   {answer: always(400, `{"error":"what"}`), class: oauthflow.ClassUnclassified, code: "what", message: "without saying why", least: 30 * time.Second},
		"no token":       {answer: always(200, `{"refresh_token":"canary"}`), class: oauthflow.ClassUnknown, code: "http_200", message: "no access token", least: 5 * time.Second},
		"error in a 200": {answer: always(200, `{"error":"bad_client_secret"}`), class: oauthflow.ClassOperator, code: "bad_client_secret", message: "check client id", least: 30 * time.Second},
		"busy":           {answer: always(503, ""), class: oauthflow.ClassTransient, code: "http_503", message: "asked for a pause", least: time.Second},
		"retry-after":    {answer: always(429, "retry-after 600"), class: oauthflow.ClassTransient, code: "http_429", message: "asked for a pause", least: 600 * time.Second},
		"no answer":      {answer: lost, class: oauthflow.ClassUnknown, code: "no_answer", message: "No usable answer came", least: 5 * time.Second},
		"unreachable":    {dial: errStore, class: oauthflow.ClassTransient, code: "unreachable", message: "could not be reached", least: time.Second},
		"redirect":       {answer: always(307, ""), class: oauthflow.ClassUnknown, code: "http_307", message: "never followed", least: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newMinter(t)
				requests := 0
				w.idp.answer = func(form url.Values) (int, string, error) {
					requests++
					return tt.answer(form)
				}
				w.idp.dial = func(context.Context) error {
					if tt.dial != nil {
						requests++
					}
					return tt.dial
				}
				_, err := w.token(w.m)
				e := problem(t, err, oauthflow.ErrUnavailable)
				require.NotErrorIs(t, err, oauthflow.ErrReauthRequired)
				require.Equal(t, w.target.Key, e.Key)
				require.Equal(t, []string{string(tt.class), tt.code}, []string{e.Reason, e.Code})
				require.Contains(t, e.Message, tt.message)
				require.GreaterOrEqual(t, e.RetryAfter, tt.least)
				var te *oauthflow.TokenError
				require.ErrorAs(t, err, &te)

				for range 1000 { // while it lasts, nothing is sent
					_, err := w.token(w.m)
					again := problem(t, err, oauthflow.ErrUnavailable)
					require.Equal(t, []any{e.Reason, e.Code, e.Message}, []any{again.Reason, again.Code, again.Message})
				}
				_, err = w.m.Renew(context.Background(), w.target, 1)
				problem(t, err, oauthflow.ErrUnavailable)
				require.Equal(t, 1, requests)

				c := w.row()
				require.True(t, c.Connected())
				require.Equal(t, tokenstore.Degraded, c.Status)
				require.Equal(t, []string{string(tt.class), tt.code, e.Message}, []string{c.Reason, c.LastError.Code, c.LastError.Message})
				require.True(t, c.DueAt.IsZero())
				require.Equal(t, []string{"refresh_failed " + tt.code}, w.events())

				pass(e.RetryAfter)
				w.idp.set(func(p *idp) { p.answer, p.dial = nil, nil })
				w.requireToken(w.m, "AT1")
				require.Equal(t, tokenstore.Active, w.row().Status)
				require.Nil(t, w.row().LastError)
				require.Equal(t, []string{"refresh_failed " + tt.code, "minted"}, w.events())
				require.NotContains(t, w.logs.String(), "canary")
			})
		})
	}
}

func TestAFailedEarlyMintFailsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.requireToken(w.m, "AT1")
		w.idp.set(func(p *idp) { p.answer = always(401, `{"error":"invalid_client"}`) })
		pass(3560 * time.Second)
		for range 100 {
			w.requireToken(w.m, "AT1")
			synctest.Wait()
		}
		require.Len(t, w.idp.mints(), 2)
		require.Equal(t, tokenstore.Degraded, w.row().Status)
		pass(40 * time.Second)
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrUnavailable)
		w.idp.set(func(p *idp) { p.answer = nil })
		pass(time.Hour)
		w.requireToken(w.m, "AT2")
		events := w.events()
		require.Equal(t, "healed", events[len(events)-1])
	})
}

// A hundred callers wait for one answer, and it is no.
func TestAFailedMintIsEverybodysWhoWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.delay, w.idp.answer = time.Second, always(401, `{"error":"invalid_client"}`)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := w.token(w.m)
				assert.ErrorIs(t, err, oauthflow.ErrUnavailable)
			})
		}
		wg.Wait()
		require.Len(t, w.idp.mints(), 1)
	})
}

// There is nobody to connect again, whatever the provider says and for how long.
func TestMintFailuresNeverAskForAPerson(t *testing.T) {
	for _, code := range []string{"invalid_grant", "consent_required", "what"} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newMinter(t)
				w.idp.answer = always(400, fmt.Sprintf(`{"error":%q}`, code))
				start := time.Now()
				for time.Since(start) < 24*time.Hour {
					_, err := w.token(w.m)
					pass(problem(t, err, oauthflow.ErrUnavailable).RetryAfter)
					require.Equal(t, tokenstore.Degraded, w.row().Status)
				}
				require.GreaterOrEqual(t, len(w.idp.mints()), 24*4, "a quarter of an hour at most")
				require.LessOrEqual(t, len(w.idp.mints()), 400)
				require.NotContains(t, w.events(), "reauth_required unclassified")
			})
		})
	}
}

// What was mended is tried at once, not after the pause.
func TestAnotherSecretDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.answer = func(form url.Values) (int, string, error) {
			if form.Get("client_secret") != "right" {
				return 401, `{"error":"invalid_client"}`, nil
			}
			return 0, "", nil
		}
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrUnavailable)
		mended := *w.target.Client
		mended.ClientSecret = tokenstore.NewSecret("right")
		w.target.Client = &mended
		w.requireToken(w.m, "AT1")
		require.Equal(t, tokenstore.Active, w.row().Status)
	})
}

// A pause that was measured on a clock which has been set back since is over; so
// the store's clock, which may differ from this machine's, decides about nothing.
func TestTheStoresClockDoesNotMatterToMints(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newMinter(t)
			w.store = &faulty{Store: w.store, skew: skew}
			w.m = w.process()
			s, err := w.ask(w.target)
			require.NoError(t, err)
			require.Equal(t, time.Hour, time.Until(s.ExpiresAt()))
			require.Equal(t, time.Hour+skew, time.Until(w.row().ExpiresAt), "by the store's clock")
			w.requireToken(w.m, "AT1")
		})
	}
}

// A definition that had a person's grant before.
func TestMintingKeepsAGrantOfAnotherKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		before := w.row()
		interactive := *w.target.Client
		minting := interactive
		minting.Flow = oauthflow.ClientCredentials

		// Nothing is lost to a definition that was changed by mistake.
		w.target.Client = &minting
		w.idp.set(func(p *idp) { p.answer = always(401, `{"error":"unauthorized_client"}`) })
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrUnavailable)
		require.Equal(t, before.Version, w.row().Version)
		w.target.Client = &interactive
		w.requireToken(w.m, "AT1")

		w.target.Client = &minting
		w.idp.set(func(p *idp) { p.answer = nil })
		pass(time.Hour)
		w.requireToken(w.m, "AT2")
		require.Equal(t, before.Version, w.row().Version, "nobody else knows of its tokens")
		require.Equal(t, []string{"connected"}, w.events())
		w.target.Client = &interactive
		w.requireToken(w.m, "AT3") // renewed with the refresh token that was kept
	})
}

// The record follows the configuration; a provider's earlier no is about the
// client as it was.
func TestMintingUnderAnotherIdentityIsNews(t *testing.T) {
	w := newMinter(t)
	w.requireToken(w.m, "AT1")
	grant := w.row().GrantID
	w.target.EntityID = "other"
	w.requireToken(w.m, "AT2")
	c := w.row()
	require.NotEqual(t, grant, c.GrantID)
	require.Equal(t, "other", c.EntityID)
	require.Equal(t, "https://login.example.com/other/token", c.TokenHost)
	require.Equal(t, []string{"minted", "minted"}, w.events())
}

// A provider that quotes what it was sent.
func TestMintFailuresHoldNoSecret(t *testing.T) {
	w := newMinter(t)
	w.idp.answer = func(form url.Values) (int, string, error) {
		return http.StatusUnauthorized, fmt.Sprintf(`{"error":"invalid_client","error_description":"bad secret %s"}`, form.Get("client_secret")), nil
	}
	_, err := w.token(w.m)
	requireClean(t, err)
	assertClean(t, every(w.row()))
	assertClean(t, w.logs.String())
	require.Contains(t, w.row().LastError.Message, "bad secret [REDACTED]")
	s, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
	require.Nil(t, s)
	requireClean(t, err)
}
