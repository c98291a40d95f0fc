package oauthflow_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestRevokedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.provider.Script(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) {
			w.note(x)
			x.Wait(time.Second) // so that the tombstone can be looked at
		}))
		w.disconnect(w.m)
		require.NotNil(t, w.row().Revoking)
		require.NotZero(t, w.row().DueAt)
		pass(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"refresh_token", "access_token"}, w.seen())
		require.Equal(t, 1, w.dead())
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		require.Equal(t, w.events(), w.ears.heard())
		require.Equal(t, int64(1), w.m.Stats().Revoked)
		w.requireDone()
	})
}

func TestAProviderThatIsAwayIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		defer keepFresh(w.m)()
		w.provider.SetDown(true)
		w.disconnect(w.m)
		pass(time.Hour)
		require.NotNil(t, w.row().Revoking)
		asked := w.m.Stats().Requests
		require.Greater(t, asked, int64(4))
		require.Less(t, asked, int64(15), "with pauses that grow")
		w.provider.SetDown(false)
		pass(2 * time.Hour)
		require.Equal(t, 1, w.dead())
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		w.requireDone()
	})
}

// The process dies between the tombstone and the request.
func TestAnotherProcessRevokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.abandon(w.m) // nothing of the first one gets out
		require.NoError(t, w.m.Close())
		require.Zero(t, w.dead())
		defer keepFresh(w.start())()
		pass(3 * time.Minute)
		require.Equal(t, 1, w.dead())
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		w.requireDone()
	})
}

func TestTheDefinitionIsGoneWhenItIsRevoked(t *testing.T) {
	for name, err := range map[string]error{
		"gone": fmt.Errorf("x: %w", oauthflow.ErrGone), "nobody knows": errStore, "in time": context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRevokeWorld(t)
				w.connect(w.m)
				w.provider.SetDown(true)
				w.disconnect(w.m)
				w.known.set(func(*oauthflow.Target) error { return err })
				defer keepFresh(w.m)()
				pass(time.Hour)
				w.provider.SetDown(false)
				pass(2 * time.Hour)
				require.Equal(t, 1, w.dead())
				w.requireDone()
			})
		})
	}
}

// The definition leads elsewhere by now, or is for client credentials.
func TestTokensGoOnlyWhereTheyCameFrom(t *testing.T) {
	for name, change := range map[string]func(c *oauthflow.Client){
		"another provider": func(c *oauthflow.Client) {
			c.TokenURL, c.RevocationURL = "https://evil.example/t", "https://evil.example/r"
		},
		"no revocation":     func(c *oauthflow.Client) { c.RevocationURL = "" },
		"another client":    func(c *oauthflow.Client) { c.ClientID, c.ClientSecret = "other", tokenstore.NewSecret("other") },
		"without a person":  func(c *oauthflow.Client) { c.Flow = oauthflow.ClientCredentials },
		"a broken template": func(c *oauthflow.Client) { c.TokenURL = "https://{nobody}.example/t" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRevokeWorld(t)
				w.connect(w.m)
				w.abandon(w.m)
				w.known.set(func(t *oauthflow.Target) error {
					c := *t.Client
					change(&c)
					t.Client = &c
					return nil
				})
				defer keepFresh(w.m)()
				pass(2 * time.Hour)
				require.Equal(t, 1, w.dead(), "as it was when the tokens came")
				w.requireDone()
			})
		})
	}
	t.Run("changed before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newRevokeWorld(t)
			w.connect(w.m)
			c := *w.target.Client
			c.ClientID = "other"
			w.target.Client = &c
			got, err := w.m.Disconnect(t.Context(), w.target, "bob")
			require.NoError(t, err)
			require.Equal(t, oauthflow.RevocationFailed, got)
			synctest.Wait()
			require.Empty(t, w.seen())
			require.False(t, w.row().Connected())
			w.requireDone()
		})
	})
}

// Some providers end the new grant with the old one.
func TestWhoConnectsAgainEndsTheRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		defer keepFresh(w.m)()
		w.abandon(w.m)
		w.connect(w.m)
		require.Nil(t, w.row().Revoking)
		pass(48 * time.Hour)
		require.Zero(t, w.provider.Counts().Revocations)
		require.Zero(t, w.dead())
		_, err := w.token(w.m)
		require.NoError(t, err)
	})
}

// What an older program leaves, which knows of grants and not of what is to be revoked.
func TestNothingIsRevokedWhileThereIsAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.abandon(w.m)
		require.NoError(t, w.m.Close())
		_, err := w.store.Update(t.Context(), w.target.Key, func(c *tokenstore.Connection, now time.Time) error {
			c.GrantID, c.Status, c.DueAt = "g2", tokenstore.Active, now
			return nil
		})
		require.NoError(t, err)
		m := w.start()
		defer keepFresh(m)()
		pass(48 * time.Hour)
		require.Zero(t, w.provider.Counts().Revocations)
	})
}

// What the provider has agreed to is not asked for again.
func TestHalfOfItWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		defer keepFresh(w.m)()
		w.provider.Script(oauthtest.Revocation, oauthtest.Do(w.note), oauthtest.Fail(http.StatusServiceUnavailable, "", ""))
		w.disconnect(w.m)
		synctest.Wait()
		require.Equal(t, 1, w.dead())
		require.NotNil(t, w.row().Revoking)
		pass(time.Hour)
		require.Equal(t, []string{"refresh_token", "access_token"}, w.seen())
		require.Equal(t, 3, w.provider.Counts().Revocations)
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		w.requireDone()
	})
}

func TestRevocationEnds(t *testing.T) {
	answer := func(status int, code string) func(*revokeWorld) {
		return func(w *revokeWorld) { w.provider.Always(oauthtest.Revocation, oauthtest.Fail(status, code, "canary")) }
	}
	tests := map[string]struct {
		provider    func(*revokeWorld)
		want        string
		after, upTo time.Duration
		requests    int // at least
	}{
		"nobody there": {func(w *revokeWorld) { w.provider.SetDown(true) }, "revocation_failed unreachable", 24 * time.Hour, 25 * time.Hour, 15},
		"never a reply": {func(w *revokeWorld) { w.provider.Always(oauthtest.Revocation, oauthtest.Hang()) },
			"revocation_failed no_answer", 24 * time.Hour, 25 * time.Hour, 15},
		"out of order":       {answer(500, ""), "revocation_failed http_500", 24 * time.Hour, 25 * time.Hour, 15},
		"the client refused": {answer(401, "invalid_client"), "revocation_failed invalid_client", time.Hour, 4 * time.Hour, 5},
		"refused":            {answer(400, "invalid_request"), "revocation_failed invalid_request", time.Hour, 3 * time.Hour, 5},
		"no such address":    {answer(404, ""), "revocation_failed http_404", time.Hour, 3 * time.Hour, 5},
		"not such tokens":    {answer(400, "unsupported_token_type"), "revocation_failed unsupported_token_type", 0, 0, 2},
		"not known any more": {answer(400, "invalid_token"), "revoked", 0, 0, 2},
		"access tokens cannot": {func(w *revokeWorld) {
			w.provider.Script(oauthtest.Revocation, oauthtest.Serve())
			answer(400, "unsupported_token_type")(w)
		}, "revoked", 0, 0, 2},
		"refused for an hour, by a proxy": {func(w *revokeWorld) {
			answer(404, "")(w)
			time.AfterFunc(50*time.Minute, func() { w.provider.Always(oauthtest.Revocation, oauthtest.Serve()) })
		}, "revoked", 50 * time.Minute, 2 * time.Hour, 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRevokeWorld(t)
				w.connect(w.m)
				defer keepFresh(w.m)()
				before := w.m.Stats().Requests
				tt.provider(w)
				w.disconnect(w.m)
				removed := time.Now()
				for w.row().Revoking != nil {
					pass(time.Minute)
					require.Less(t, time.Since(removed), 26*time.Hour)
				}
				took := time.Since(removed)
				require.GreaterOrEqual(t, took, tt.after)
				require.LessOrEqual(t, took, tt.upTo+time.Minute)
				require.Equal(t, []string{"connected", "disconnected", tt.want}, w.events())
				synctest.Wait()
				require.Equal(t, w.events(), w.ears.heard())
				w.requireDone()
				asked := w.m.Stats().Requests - before
				require.GreaterOrEqual(t, asked, int64(tt.requests))
				require.LessOrEqual(t, asked, int64(80))
				pass(48 * time.Hour)
				require.Equal(t, before+asked, w.m.Stats().Requests, "nothing more is sent")
				require.Equal(t, tt.want == "revoked", w.m.Stats().Revoked == 1)
				require.Equal(t, tt.want != "revoked", w.m.Stats().NotRevoked == 1)
			})
		})
	}
}

func TestRevocationWaitsAsLongAsItIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		defer keepFresh(w.m)()
		w.provider.Script(oauthtest.Revocation, oauthtest.Answer(oauthtest.Reply{
			Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1800"}},
		}))
		w.disconnect(w.m)
		pass(29 * time.Minute)
		require.Equal(t, 1, w.provider.Counts().Revocations)
		pass(5 * time.Minute)
		require.Equal(t, 1, w.dead())
		w.requireDone()
	})
}

func TestTwoProcessesRevokeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		other := w.start()
		defer keepFresh(w.m)()
		defer keepFresh(other)()
		w.provider.Always(oauthtest.Revocation, oauthtest.Delay(4*time.Second, oauthtest.Do(w.note)))
		w.connect(w.m)
		w.disconnect(w.m)
		pass(5 * time.Minute)
		require.Equal(t, []string{"refresh_token", "access_token"}, w.seen())
		require.Equal(t, []string{"connected", "disconnected", "revoked"}, w.events())
		w.requireDone()
	})
}

// Without KeepFresh, a provider is asked once.
func TestNobodyAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.provider.Script(oauthtest.Revocation, oauthtest.Fail(503, "", ""))
		w.disconnect(w.m)
		pass(48 * time.Hour)
		require.Equal(t, 1, w.provider.Counts().Revocations)
		require.NotNil(t, w.row().Revoking, "for a process that does")
	})
}

func TestCloseWaitsForARevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.connect(w.m)
		w.provider.Always(oauthtest.Revocation, oauthtest.Delay(4*time.Second, oauthtest.Do(w.note)))
		w.disconnect(w.m)
		synctest.Wait()
		require.NoError(t, w.m.Close())
		require.Len(t, w.seen(), 2)
		w.requireDone()
	})
}

func TestNothingOfARevocationIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &spans{}
		w := newRevokeWorld(t, func(c *oauthflow.Config) { c.Tracer = s })
		w.connect(w.m)
		defer keepFresh(w.m)()
		var secrets []string
		w.provider.Always(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) { // it repeats all that it was sent
			body := x.Form().Encode()
			secrets = append(secrets, x.Form().Get("token"), body)
			x.Wait(time.Second) // so that the tombstone can be looked at
			x.Send(&oauthtest.Reply{Status: 400, Members: map[string]any{"error": x.Form().Get("token"), "error_description": body}})
		}))
		w.disconnect(w.m)
		sealed := string(w.row().Revoking)
		for w.row().Revoking != nil {
			pass(time.Minute)
		}
		synctest.Wait()
		secrets = append(append(secrets, w.provider.Secrets()...), sealed)
		list, err := w.store.Events(t.Context(), tokenstore.Match{}, 0, 100)
		require.NoError(t, err)
		told := w.logs.String() + every(list) + every(w.ears.events) + every(s.starts) + every(s.ends)
		require.Contains(t, told, "revocation_failed")
		for _, secret := range secrets {
			require.NotContains(t, told, secret)
			require.False(t, strings.Contains(sealed, secret) && secret != sealed)
		}
	})
}
