package oauthtest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

const (
	callback = "http://localhost:8080/callback"
	verifier = "a-verifier-of-at-least-forty-three-characters-0"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func newProvider(t *testing.T, config oauthtest.Config) *oauthtest.Provider {
	t.Helper()
	p, err := oauthtest.New(config)
	require.NoError(t, err)
	return p
}

// pass lets time pass, in a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

// app is the application's side of the protocol, reduced to what tests need.
type app struct {
	t      *testing.T
	http   *http.Client
	urls   oauthtest.Endpoints
	id     string
	secret string // sent in the body; empty: not at all
}

// inProcess is an app that talks to p without sockets.
func inProcess(t *testing.T, p *oauthtest.Provider) *app {
	t.Helper()
	return &app{
		t: t, http: &http.Client{Transport: p.RoundTripper()}, urls: p.Endpoints().For("common"),
		id: oauthtest.DefaultClient().ID, secret: oauthtest.DefaultClient().Secret,
	}
}

// overSockets is an app that talks to p through a server.
func overSockets(t *testing.T, p *oauthtest.Provider) *app {
	t.Helper()
	server := httptest.NewServer(p)
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(func() {
		server.CloseClientConnections() // for endpoints that hang on purpose
		server.Close()
	})
	a := inProcess(t, p)
	a.http = &http.Client{Transport: transport}
	a.urls = oauthtest.At(server.URL).For("common")
	return a
}

// bothWays runs a test in process and over sockets.
func bothWays(t *testing.T, config oauthtest.Config, test func(t *testing.T, p *oauthtest.Provider, a *app)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) {
		p := newProvider(t, config)
		test(t, p, inProcess(t, p))
	})
	t.Run("over sockets", func(t *testing.T) {
		p := newProvider(t, config)
		test(t, p, overSockets(t, p))
	})
}

// authorizationURL is a good request, with changes: an empty value removes.
func (a *app) authorizationURL(changes ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {a.id}, "redirect_uri": {callback}, "state": {"state-1"},
		"scope":          {"offline_access Directory.Read.All"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			q.Del(changes[i])
			continue
		}
		q.Set(changes[i], changes[i+1])
	}
	return a.urls.AuthorizationURL + "?" + q.Encode()
}

func (a *app) browser(user string) oauthtest.Browser {
	return oauthtest.Browser{Client: a.http, User: user}
}

// code walks the pages and returns the authorization code.
func (a *app) code(user string, changes ...string) string {
	a.t.Helper()
	location, err := a.browser(user).Walk(a.t.Context(), a.authorizationURL(changes...))
	require.NoError(a.t, err)
	u, err := url.Parse(location)
	require.NoError(a.t, err)
	require.Equal(a.t, "state-1", u.Query().Get("state"))
	require.NotEmpty(a.t, u.Query().Get("code"), location)
	return u.Query().Get("code")
}

// reply is a token or API reply as a client sees it.
type reply struct {
	Status  int
	Header  http.Header
	Members map[string]any
	Body    string
}

func (r reply) str(name string) string {
	s, _ := r.Members[name].(string)
	return s
}

// post sends a form with the app's credentials.
func (a *app) post(ctx context.Context, to string, pairs ...string) (reply, error) {
	form := url.Values{"client_id": {a.id}}
	if a.secret != "" {
		form.Set("client_secret", a.secret)
	}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			form.Del(pairs[i])
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.send(req)
}

func (a *app) send(req *http.Request) (reply, error) {
	client := *a.http
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 2<<20))
	r := reply{Status: res.StatusCode, Header: res.Header, Body: string(body)}
	_ = json.Unmarshal(body, &r.Members) // not every reply is JSON
	return r, err
}

// redeem exchanges a code.
func (a *app) redeem(code string, pairs ...string) reply {
	a.t.Helper()
	r, err := a.post(a.t.Context(), a.urls.TokenURL, append([]string{
		"grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier,
	}, pairs...)...)
	require.NoError(a.t, err)
	return r
}

// connect is the whole way to a first token.
func (a *app) connect(user string, changes ...string) reply {
	a.t.Helper()
	r := a.redeem(a.code(user, changes...))
	require.Equal(a.t, http.StatusOK, r.Status, r.Body)
	return r
}

// tryRefresh presents a refresh token.
func (a *app) tryRefresh(token string, pairs ...string) (reply, error) {
	return a.post(a.t.Context(), a.urls.TokenURL, append([]string{"grant_type", "refresh_token", "refresh_token", token}, pairs...)...)
}

func (a *app) refresh(token string, pairs ...string) reply {
	a.t.Helper()
	r, err := a.tryRefresh(token, pairs...)
	require.NoError(a.t, err)
	return r
}

// get calls the API.
func (a *app) get(target, token string) reply {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, target, nil)
	require.NoError(a.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := a.send(req)
	require.NoError(a.t, err)
	return r
}

func (a *app) requireError(r reply, status int, code string) {
	a.t.Helper()
	require.Equal(a.t, code, r.str("error"), r.Body)
	require.Equal(a.t, status, r.Status)
}
