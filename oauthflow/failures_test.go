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

func TestFailuresByClass(t *testing.T) {
	tests := map[string]struct {
		answer func(url.Values) (int, string, error)
		kind   error
		status tokenstore.Status
		reason string
		code   string
		open   bool // an attempt stays open
		least  time.Duration
	}{
		"dead":                    {always(400, `{"error":"invalid_grant"}`), oauthflow.ErrReauthRequired, tokenstore.ReauthRequired, "invalid_grant", "invalid_grant", false, 0},
		"dead, in a 200":          {always(200, `{"error":"bad_refresh_token"}`), oauthflow.ErrReauthRequired, tokenstore.ReauthRequired, "invalid_grant", "bad_refresh_token", false, 0},
		"the operator's fault":    {always(401, `{"error":"invalid_client"}`), oauthflow.ErrUnavailable, tokenstore.Degraded, "operator", "invalid_client", false, 29 * time.Second},
		"scopes":                  {always(400, `{"error":"invalid_scope"}`), oauthflow.ErrUnavailable, tokenstore.Degraded, "configuration", "invalid_scope", false, 29 * time.Second},
		"429 with Retry-After":    {always(429, "retry-after 120"), oauthflow.ErrUnavailable, tokenstore.Degraded, "transient", "http_429", false, 2 * time.Minute},
		"503":                     {always(503, ""), oauthflow.ErrUnavailable, tokenstore.Degraded, "transient", "http_503", false, 900 * time.Millisecond},
		"unknown code":            {always(400, `{"error":"invalid_request"}`), oauthflow.ErrUnavailable, tokenstore.Degraded, "unclassified", "invalid_request", false, 29 * time.Second},
		"empty 400":               {always(400, ""), oauthflow.ErrUnavailable, tokenstore.Degraded, "unclassified", "http_400", false, 29 * time.Second},
		"500":                     {always(500, "oops"), oauthflow.ErrUnavailable, tokenstore.Degraded, "unknown", "http_500", true, 0},
		"HTML with 200":           {always(200, "<html>"), oauthflow.ErrUnavailable, tokenstore.Degraded, "unknown", "http_200", true, 0},
		"reset after it was sent": {lost, oauthflow.ErrUnavailable, tokenstore.Degraded, "unknown", "no_answer", true, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.connect("g")
				pass(2 * time.Hour)
				w.idp.answer = tt.answer
				_, err := w.token(w.m)
				e := problem(t, err, tt.kind)
				require.Equal(t, tt.status, e.Status)
				require.Equal(t, tt.reason, e.Reason)
				require.Equal(t, tt.code, e.Code)
				require.GreaterOrEqual(t, e.RetryAfter, tt.least)
				var te *oauthflow.TokenError
				require.ErrorAs(t, err, &te)
				c := w.row()
				require.Equal(t, tt.status, c.Status)
				require.Equal(t, tt.reason, c.Reason)
				require.Equal(t, tt.code, c.LastError.Code)
				require.NotEmpty(t, c.LastError.Message)
				if tt.code == "invalid_scope" {
					require.Contains(t, c.LastError.Message, "scopes: read", "it says which")
				}
				require.Equal(t, tt.open, c.Attempt != nil)
				require.Equal(t, int64(1), c.Generation, "the refresh token stays")

				if tt.status == tokenstore.Degraded && !tt.open {
					_, err = w.token(w.m)
					problem(t, err, tt.kind)
					require.Len(t, w.idp.refreshes(), 1, "nothing is sent during the cool-down")
					w.idp.set(func(p *idp) { p.answer = nil })
					pass(e.RetryAfter)
					w.requireToken(w.m, "AT2")
					require.Nil(t, w.row().LastError)
				}
			})
		})
	}
}

func TestALongRetryAfterIsObeyed(t *testing.T) {
	tests := map[string]struct {
		header string
		pause  time.Duration
	}{
		"two hours": {"retry-after 7200", 2 * time.Hour},
		"a week":    {"retry-after 604800", 24 * time.Hour}, // no more than a day
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.connect("g")
				pass(2 * time.Hour)
				w.idp.answer = always(429, tt.header)
				_, err := w.token(w.m)
				require.Equal(t, tt.pause, problem(t, err, oauthflow.ErrUnavailable).RetryAfter)
				w.idp.set(func(p *idp) { p.answer = nil })
				pass(tt.pause - time.Second)
				for _, m := range []*oauthflow.Manager{w.m, w.process()} {
					_, err = w.token(m)
					problem(t, err, oauthflow.ErrUnavailable)
				}
				require.Len(t, w.idp.refreshes(), 1)
				pass(time.Second)
				w.requireToken(w.m, "AT2")
			})
		})
	}
}

func TestDialFailureIsTransient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.dial = func(context.Context) error { return errStore }
		_, err := w.token(w.m)
		e := problem(t, err, oauthflow.ErrUnavailable)
		require.Equal(t, "unreachable", e.Code)
		require.Nil(t, w.row().Attempt)
		require.Positive(t, e.RetryAfter)
	})
}

func TestFailedEarlyRefreshNeverFailsTheCaller(t *testing.T) {
	for name, answer := range map[string]func(url.Values) (int, string, error){
		"503": always(503, ""), "invalid_client": always(401, `{"error":"invalid_client"}`),
		"invalid_grant": always(400, `{"error":"invalid_grant"}`), "lost": lost, "400": always(400, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.connect("g")
				pass(3600*time.Second - 44*time.Second)
				w.idp.answer = answer
				for range 43 {
					w.requireToken(w.m, "AT1")
					pass(time.Second)
				}
				require.NotEmpty(t, w.idp.refreshes())
				require.Less(t, len(w.idp.refreshes()), 15, "and it backs off")
				pass(2 * time.Second)
				_, err := w.token(w.m)
				require.Error(t, err)
			})
		})
	}
}

func TestDeadGrantCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.answer = always(400, `{"error":"invalid_grant","error_description":"consent withdrawn"}`)
		for range 3 {
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					_, err := w.token(w.m)
					assert.ErrorIs(t, err, oauthflow.ErrReauthRequired)
				})
			}
			wg.Wait()
			pass(24 * time.Hour)
		}
		_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		problem(t, err, oauthflow.ErrReauthRequired)
		require.Len(t, w.idp.refreshes(), 1)
		require.Equal(t, []string{"connected", "reauth_required invalid_grant"}, w.events(), "one event")
		require.Contains(t, w.row().LastError.Message, "consent withdrawn")

		w.idp.set(func(p *idp) { p.answer = nil })
		w.connect("g2")
		w.requireToken(w.m, "AT2")
		require.Equal(t, tokenstore.Active, w.row().Status)
	})
}

func TestRejectedTokenOfADeadGrantIsNotHandedOutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.answer = always(400, `{"error":"invalid_grant"}`)
		_, err := w.m.Renew(context.Background(), w.target, 1)
		problem(t, err, oauthflow.ErrReauthRequired)
		_, err = w.token(w.m)
		problem(t, err, oauthflow.ErrReauthRequired)
		_, err = w.token(w.process())
		problem(t, err, oauthflow.ErrReauthRequired)
		require.Len(t, w.idp.refreshes(), 1)
	})
}

// refusedInTheEnd asks once a minute, in vain, until people have to connect again: after
// an hour and five requests at least. It returns how many there were.
func (w *world) refusedInTheEnd(ask func() error) (requests int) {
	w.t.Helper()
	begun := time.Now()
	for w.row().Status != tokenstore.ReauthRequired {
		require.Error(w.t, ask())
		pass(time.Minute)
		require.Less(w.t, time.Since(begun), 3*time.Hour)
	}
	require.GreaterOrEqual(w.t, time.Since(begun), time.Hour)
	requests = len(w.idp.refreshes())
	require.GreaterOrEqual(w.t, requests, 5)
	return requests
}

func TestUnclassifiedRefusalsBecomeReauthRequiredInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.answer = always(400, "")
		n := w.refusedInTheEnd(func() error {
			_, err := w.token(w.m)
			return err
		})
		pass(time.Hour)
		_, err := w.token(w.m)
		require.Equal(t, "unclassified", problem(t, err, oauthflow.ErrReauthRequired).Reason)
		require.Len(t, w.idp.refreshes(), n)
	})
}

func TestUnknownOutcomeIsAskedAgain(t *testing.T) {
	once := func(w *world, processed bool) func(url.Values) (int, string, error) {
		done := false
		return func(form url.Values) (int, string, error) {
			if done {
				return 0, "", nil
			}
			done = true
			if processed {
				_, _, _ = w.idp.usual(form)
			}
			return lost(form)
		}
	}
	t.Run("the provider never saw it: healed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.idp.answer = once(w, false)
			_, err := w.token(w.m)
			problem(t, err, oauthflow.ErrUnavailable)
			asked := time.Now()
			w.requireToken(w.m, "AT2")
			require.InDelta(t, 5, time.Since(asked).Seconds(), 0.3, "no longer than bytes can be under way")
			require.Equal(t, []string{"g/RT1", "g/RT1"}, w.idp.refreshes())
			require.Equal(t, tokenstore.Active, w.row().Status)
		})
	})
	t.Run("its answer was lost: lost_rotation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.idp.answer = once(w, true)
			_, err := w.token(w.m)
			problem(t, err, oauthflow.ErrUnavailable)
			_, err = w.token(w.m)
			require.Equal(t, oauthflow.ReasonLostRotation, problem(t, err, oauthflow.ErrReauthRequired).Reason)
			require.Equal(t, oauthflow.ReasonLostRotation, w.row().LastError.Code, "the provider's word would be that of a changed password")
			require.Len(t, w.idp.refreshes(), 2)
			pass(time.Hour)
			_, err = w.token(w.m)
			problem(t, err, oauthflow.ErrReauthRequired)
			require.Len(t, w.idp.refreshes(), 2, "never a loop")
		})
	})
	t.Run("not before the access token has ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(3600*time.Second - 40*time.Second)
			w.idp.answer = once(w, false)
			for range 39 {
				w.requireToken(w.m, "AT1")
				pass(time.Second)
			}
			require.Len(t, w.idp.refreshes(), 1)
			pass(2 * time.Second)
			w.requireToken(w.m, "AT2")
		})
	})
	t.Run("within the provider's grace, even before that", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.target.Client.ReuseGrace = time.Minute
			w.connect("g")
			pass(3600*time.Second - 40*time.Second)
			w.idp.answer = once(w, false)
			for range 10 {
				_, err := w.token(w.m)
				require.NoError(t, err)
				pass(time.Second)
			}
			w.requireToken(w.m, "AT2")
		})
	})
	t.Run("and an unanswered question is asked ever more seldom", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.idp.answer = lost
			for range 3600 {
				_, err := w.token(w.m)
				problem(t, err, oauthflow.ErrUnavailable)
				pass(time.Second)
			}
			require.Less(t, len(w.idp.refreshes()), 40)
			require.Greater(t, len(w.idp.refreshes()), 10)
			w.idp.set(func(p *idp) { p.answer = nil })
			pass(10 * time.Minute)
			w.requireToken(w.m, "AT2")
		})
	})
}

func TestSlowProviderHoldsOnlyItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.delay = time.Hour
		asked := time.Now()
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrUnavailable)
		require.Equal(t, 15*time.Second, time.Since(asked), "one total deadline")
		require.NotNil(t, w.row().Attempt)
		w.idp.delay = 0
		http := w.target
		http.Key.Org = "globex"
		_, err = w.m.Token(context.Background(), http)
		problem(t, err, oauthflow.ErrNotConnected)
	})
}

func TestSecretsStayOutOfTextsOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("canary")
		for _, answer := range []func(url.Values) (int, string, error){
			always(http.StatusBadRequest, `{"error":"x","error_description":"canary/RT1 canary-client-secret"}`), lost,
			always(http.StatusOK, `canary/RT1`), always(http.StatusBadRequest, `{"error":"invalid_grant"}`),
		} {
			pass(2 * time.Hour)
			w.idp.set(func(p *idp) { p.answer = answer })
			_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "canary")
			if c := w.row(); c.LastError != nil {
				require.NotContains(t, c.LastError.Message, "canary")
			}
		}
		require.NotContains(t, w.logs.String(), "canary")
		require.Contains(t, w.logs.String(), "a refresh failed")
	})
}
