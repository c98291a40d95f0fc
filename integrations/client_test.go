package integrations_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// api answers API requests without sockets, and remembers what each host saw.
type api struct {
	mu     sync.Mutex
	seen   []string // "host path authorization"
	answer func(*http.Request) *http.Response
}

func (a *api) RoundTrip(req *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.seen = append(a.seen, req.URL.Host+req.URL.Path+" "+req.Header.Get("Authorization"))
	a.mu.Unlock()
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	res := a.answer(req)
	res.Request = req
	return res, nil
}

func clientWorld(t *testing.T, answer func(*http.Request) *http.Response, change ...func(*integrations.Config)) (*world, *api, *integrations.Integration) {
	t.Helper()
	a := &api{answer: answer}
	w := newWorld(t, append(change, func(c *integrations.Config) { c.APITransport = a })...)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	in, err := w.Get(inGlobal(t.Context()), "Graph")
	require.NoError(t, err)
	return w, a, in
}

func ok(*http.Request) *http.Response { return reply(200, map[string]any{}) }

func get(t *testing.T, c *http.Client, url string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func TestClientSendsTheTokenToListedHostsOnly(t *testing.T) {
	for url, allowed := range map[string]bool{
		"https://api.example.com/v1":          true,
		"https://API.example.com:443/v1":      true,
		"https://api.example.com:8443/v1":     false,
		"http://api.example.com/v1":           false,
		"https://example.com/v1":              false,
		"https://api.example.com.evil.com/":   false,
		"https://user:pw@evil.com/":           false,
		"https://evil.com/api.example.com":    false,
		"https://api.example.com@evil.com/v1": false,
	} {
		t.Run(url, func(t *testing.T) {
			_, a, in := clientWorld(t, ok)
			_, err := get(t, in.Client(), url)
			if allowed {
				require.NoError(t, err)
				require.Len(t, a.seen, 1)
				require.Contains(t, a.seen[0], "Bearer at-")
				return
			}
			require.ErrorIs(t, err, integrations.ErrInvalid)
			require.ErrorContains(t, err, "APIHosts")
			require.Empty(t, a.seen, "nothing was sent")
		})
	}
}

func TestClientDropsTheTokenOnRedirectsElsewhere(t *testing.T) {
	for _, to := range []string{
		"https://evil.com/steal", "http://api.example.com/plain", "https://api.example.com:8443/port",
		"https://sub.api.example.com/sub",
	} {
		t.Run(to, func(t *testing.T) {
			_, a, in := clientWorld(t, func(req *http.Request) *http.Response {
				if req.URL.Path == "/v1" {
					res := reply(307, nil)
					res.Header.Set("Location", to)
					return res
				}
				return reply(200, nil)
			})
			_, err := get(t, in.Client(), "https://api.example.com/v1")
			require.NoError(t, err)
			require.Len(t, a.seen, 2)
			require.Contains(t, a.seen[0], "Bearer at-")
			require.NotContains(t, a.seen[1], "Bearer")
		})
	}
}

// unless answers 401 to one token and 200 to any other.
func unless(req *http.Request, dead string) *http.Response {
	if req.Header.Get("Authorization") == "Bearer "+dead {
		return reply(401, nil)
	}
	return reply(200, nil)
}

func TestParallel401sMakeOneRefresh(t *testing.T) {
	var dead string
	w, _, in := clientWorld(t, func(req *http.Request) *http.Response { return unless(req, dead) })
	dead = in.OAuth().AccessToken()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/v1", strings.NewReader("body"))
			if err != nil {
				t.Error(err)
				return
			}
			res, err := in.Client().Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			if err := res.Body.Close(); err != nil || res.StatusCode != 200 {
				t.Errorf("status %d, %v", res.StatusCode, err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2, w.idp.count(), "one exchange, one refresh")
}

// stream posts a body that cannot be repeated, and reads the answer.
func stream(ctx context.Context, t *testing.T, in *integrations.Integration) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com/v1", io.MultiReader(strings.NewReader("once")))
	require.NoError(t, err)
	res, err := in.Client().Do(req)
	require.NoError(t, err)
	read, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode, string(read)
}

func TestA401WithABodyThatCannotBeRepeatedIsReturned(t *testing.T) {
	var dead string
	w, a, in := clientWorld(t, func(req *http.Request) *http.Response {
		if req.Header.Get("Authorization") == "Bearer "+dead {
			return reply(401, "no")
		}
		return reply(200, nil)
	})
	dead = in.OAuth().AccessToken()
	status, body := stream(t.Context(), t, in)
	require.Equal(t, 401, status)
	require.Equal(t, `"no"`, body)
	require.Len(t, a.seen, 1, "it is not sent again")
	require.Equal(t, 2, w.idp.count(), "the next one has a new token")
	status, _ = stream(t.Context(), t, in)
	require.Equal(t, 200, status)
	require.Equal(t, 2, w.idp.count())
}

// Whether a renewal helped is not seen where nothing is repeated, so it is one a
// minute; and it is no matter of the request whether it works, or how long it takes.
func TestA401ThatIsReturnedCostsAtMostOneRefreshAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, in := clientWorld(t, func(*http.Request) *http.Response { return reply(401, "no") })
		again := func(ctx context.Context) {
			t.Helper()
			status, body := stream(ctx, t, in)
			require.Equal(t, 401, status)
			require.Equal(t, `"no"`, body)
		}
		for range 20 {
			again(t.Context())
		}
		require.Equal(t, 2, w.idp.count(), "one exchange, one refresh")
		<-time.After(61 * time.Second)

		w.idp.fails(func() *http.Response {
			<-time.After(12 * time.Second)
			return reply(503, nil)
		})
		start := time.Now()
		again(t.Context())
		require.Equal(t, 5*time.Second, time.Since(start))
		<-time.After(time.Minute) // the provider's own lock is held until it has answered
		require.Equal(t, 3, w.idp.count())
		require.Len(t, a.seen, 21)
	})
}

func TestAnAPIThatRefusesGoodTokensDoesNotBurnRefreshes(t *testing.T) {
	for _, slower := range []time.Duration{0, 50 * time.Millisecond} {
		t.Run(slower.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, in := clientWorld(t, func(*http.Request) *http.Response { return reply(401, nil) },
					func(c *integrations.Config) { c.Tokens = &tiring{Store: c.Tokens, by: slower} })
				for range 20 {
					status, err := get(t, in.Client(), "https://api.example.com/v1")
					require.NoError(t, err)
					require.Equal(t, 401, status)
				}
				require.Equal(t, 2, w.idp.count(), "one exchange, one refresh that did not help")
			})
		})
	}
}

// tiring is a store whose writes take longer each time.
type tiring struct {
	tokenstore.Store
	each, by time.Duration
}

func (s *tiring) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	s.each += s.by
	<-time.After(s.each)
	return s.Store.Update(ctx, key, change)
}

// The shared connection serves many organizations: what one of them learned of an
// API that refuses good tokens holds for all, or each would burn a refresh of its own.
func TestAnAPIThatRefusesGoodTokensCostsASharedConnectionOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := clientWorld(t, func(*http.Request) *http.Response { return reply(401, nil) })
		for i := range 10 {
			in, err := w.Get(inOrg(t.Context(), fmt.Sprintf("org-%d", i)), "Graph")
			require.NoError(t, err)
			require.True(t, in.Fallback())
			status, err := get(t, in.Client(), "https://api.example.com/v1")
			require.NoError(t, err)
			require.Equal(t, 401, status)
		}
		require.Equal(t, 2, w.idp.count(), "one exchange, one refresh that did not help")
	})
}

// Another process has renewed the token, and the API refuses that one as well: it
// ended with the first. That says nothing about tokens that are new.
func TestATokenThatEndedBeforeItsUseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := make(map[string]bool)
		a := &api{answer: func(req *http.Request) *http.Response {
			if dead[req.Header.Get("Authorization")] {
				return reply(401, nil)
			}
			return reply(200, nil)
		}}
		w := newWorld(t, func(c *integrations.Config) { c.APITransport, c.Staleness = a, time.Hour })
		require.NoError(t, w.Define(definition("Graph")))
		w.connect(t, "Graph", "shared", integrations.Global())
		w.follow(t)
		synctest.Wait()
		in, err := w.Get(inGlobal(t.Context()), "Graph")
		require.NoError(t, err)

		other := w.sibling(t)
		require.NoError(t, other.Define(definition("Graph")))
		_, err = other.Refresh(inGlobal(t.Context()), "Graph")
		require.NoError(t, err)
		theirs, err := other.Get(inGlobal(t.Context()), "Graph")
		require.NoError(t, err)
		dead["Bearer "+in.OAuth().AccessToken()], dead["Bearer "+theirs.OAuth().AccessToken()] = true, true
		require.Len(t, dead, 2)

		<-time.After(5 * time.Second)
		status, err := get(t, in.Client(), "https://api.example.com/v1")
		require.NoError(t, err)
		require.Equal(t, 401, status, "no token was renewed for this request")
		status, err = get(t, in.Client(), "https://api.example.com/v1")
		require.NoError(t, err)
		require.Equal(t, 200, status)
	})
}

func TestARenewalThatFailsIsTheError(t *testing.T) {
	var dead string
	w, _, in := clientWorld(t, func(req *http.Request) *http.Response { return unless(req, dead) })
	dead = in.OAuth().AccessToken()
	w.idp.mu.Lock()
	clear(w.idp.refresh)
	w.idp.mu.Unlock()
	_, err := get(t, in.Client(), "https://api.example.com/v1")
	require.ErrorIs(t, err, integrations.ErrReauthRequired)
	var e *integrations.Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, "invalid_grant", e.Code)
	require.NotEmpty(t, e.ConnectURL)
}

func TestOtherHeadersCarryTheBareToken(t *testing.T) {
	var got http.Header
	w := newWorld(t, func(c *integrations.Config) {
		c.APITransport = &api{answer: func(req *http.Request) *http.Response { got = req.Header; return reply(200, nil) }}
	})
	d := definition("Shop")
	d.APIHeader = "X-Shop-Access-Token"
	require.NoError(t, w.Define(d))
	w.connect(t, "Shop", "shared", integrations.Global())
	in, err := w.Get(inGlobal(t.Context()), "Shop")
	require.NoError(t, err)
	_, err = get(t, in.Client(), "https://api.example.com/v1")
	require.NoError(t, err)
	require.Equal(t, in.OAuth().AccessToken(), got.Get("X-Shop-Access-Token"))
	require.Empty(t, got.Get("Authorization"))
}

// A token that is renewed while a run has its integration is one the run resolved,
// too: whichever way it gets it, the redactor hears of it first.
func TestRunsAreToldOfRenewedTokens(t *testing.T) {
	for name, use := range map[string]func(*testing.T, *integrations.Integration) error{
		"TokenSource": func(t *testing.T, in *integrations.Integration) error {
			_, err := in.TokenSource(t.Context()).Token()
			return err
		},
		"Client": func(t *testing.T, in *integrations.Integration) error {
			_, err := get(t, in.Client(), "https://api.example.com/v1")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, a, _ := clientWorld(t, ok)
				var told []string
				ctx := scope.WithRun(inGlobal(t.Context()), &scope.Run{
					Scope: scope.Scope{Kind: scope.Global}, Redact: func(s string) { told = append(told, s) },
				})
				in, err := w.Get(ctx, "Graph")
				require.NoError(t, err)
				pass(2 * time.Hour)
				require.NoError(t, use(t, in))
				require.Contains(t, told, "at-login.example.com-common-shared-2")

				// And of one that replaces a token the API refused.
				a.answer = func(req *http.Request) *http.Response { return unless(req, "at-login.example.com-common-shared-2") }
				_, err = get(t, in.Client(), "https://api.example.com/v1")
				require.NoError(t, err)
				require.Contains(t, told, "at-login.example.com-common-shared-3")
			})
		})
	}
}

func TestTokenSource(t *testing.T) {
	_, _, in := clientWorld(t, ok)
	tok, err := in.TokenSource(t.Context()).Token()
	require.NoError(t, err)
	require.Equal(t, in.OAuth().AccessToken(), tok.AccessToken)
	require.True(t, tok.Valid())
	require.Empty(t, tok.RefreshToken, "nobody outside refreshes")
}
