package integrations_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// idp is a provider without sockets: /{tenant}/token gives out tokens that say
// for whom they are, and rotates refresh tokens.
type idp struct {
	mu       sync.Mutex
	lifetime int               // of access tokens, in seconds
	requests []url.Values      // token requests, in order
	codes    map[string]string // code → account
	refresh  map[string]string // live refresh token → account
	issued   int
	fail     func(form url.Values) *http.Response
	// grantsCredentials: the client credentials grant works.
	grantsCredentials bool
}

func newIDP() *idp {
	return &idp{lifetime: 3600, codes: map[string]string{}, refresh: map[string]string{}}
}

func (p *idp) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, form)
	if p.fail != nil {
		if res := p.fail(form); res != nil {
			return res, nil
		}
	}
	live, presented := p.codes, form.Get("code")
	if form.Get("grant_type") == "refresh_token" {
		live, presented = p.refresh, form.Get("refresh_token")
	}
	account, ok := live[presented]
	if form.Get("grant_type") == "client_credentials" && p.grantsCredentials {
		account, ok = "app", true
	}
	if !ok {
		return reply(400, map[string]any{"error": "invalid_grant"}), nil
	}
	delete(live, presented)
	p.issued++
	tenant := strings.Split(req.URL.Path, "/")[1]
	rt := fmt.Sprintf("rt-%s-%d", account, p.issued)
	p.refresh[rt] = account
	return reply(200, map[string]any{
		"access_token": fmt.Sprintf("at-%s-%s-%s-%d", req.URL.Host, tenant, account, p.issued), "token_type": "Bearer",
		"refresh_token": rt, "expires_in": p.lifetime, "instance_url": "https://na1.example.com",
		"authed_user": map[string]any{"id": "U1", "access_token": "xoxp-of-the-user"},
	}), nil
}

// request returns the nth token request.
func (p *idp) request(n int) url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[n]
}

// fails makes every token request fail.
func (p *idp) fails(answer func() *http.Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = func(url.Values) *http.Response { return answer() }
}

func (p *idp) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests)
}

func reply(status int, body any) *http.Response {
	text, _ := json.Marshal(body)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(text)))}
}

// world is a registry with a provider behind it.
type world struct {
	*integrations.Registry
	idp         *idp
	store       tokenstore.Store
	definitions integrations.Store
	keys        *tokenstore.Keyring
	sealer      *tokenstore.Sealer
}

func newWorld(t testing.TB, change ...func(*integrations.Config)) *world {
	t.Helper()
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	w := &world{idp: newIDP(), store: tokenstore.NewMemory(), definitions: integrations.NewMemory(), keys: keys, sealer: tokenstore.NewSealer(keys)}
	base, err := url.Parse("https://app.example.com")
	require.NoError(t, err)
	cfg := integrations.Config{
		BaseURL: base, Tokens: w.store, Definitions: w.definitions, Sealer: w.sealer, Transport: w.idp,
		Logger: slog.New(slog.DiscardHandler),
		Egress: []string{"*.example.com"}, // else names that do not exist are looked up
	}
	for _, c := range change {
		c(&cfg)
	}
	w.Registry, err = integrations.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

// follow runs the change-feed watcher for the length of the test.
func (w *world) follow(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func definition(name string) integrations.Definition {
	return integrations.Definition{
		Name: name, Description: name + " API", DefaultEntityID: "common", APIHosts: []string{"api.example.com"},
		OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{
				AuthorizationURL: "https://login.example.com/{entity_id}/authorize",
				TokenURL:         "https://login.example.com/{entity_id}/token",
			},
			ClientID: "client", ClientSecret: tokenstore.NewSecret("client-secret"), Scopes: []string{"offline_access"},
		},
	}
}

// connect walks a whole flow for account, without a browser.
func (w *world) connect(t testing.TB, name, account string, opts ...integrations.Option) {
	t.Helper()
	started, err := w.Connect(t.Context(), name, integrations.ConnectOptions{Principal: "alice", ReturnTo: "/"}, opts...)
	require.NoError(t, err)
	require.NoError(t, w.finish(t, started, account))
}

// finish is the callback of a flow that account has consented to.
func (w *world) finish(t testing.TB, started *oauthflow.Started, account string) error {
	t.Helper()
	u, err := url.Parse(started.AuthorizationURL)
	require.NoError(t, err)
	code := "code-" + u.Query().Get("state")
	w.idp.mu.Lock()
	w.idp.codes[code] = account
	w.idp.mu.Unlock()
	redirect, err := url.Parse(u.Query().Get("redirect_uri"))
	require.NoError(t, err)
	last := redirect.Path[strings.LastIndex(redirect.Path, "/")+1:]
	id, ok, err := w.CallbackDefinition(t.Context(), last)
	require.NoError(t, err)
	require.True(t, ok, "callback path %q belongs to no definition", redirect.Path)
	_, err = w.Callback(t.Context(), oauthflow.CallbackRequest{
		RawQuery:   url.Values{"code": {code}, "state": {u.Query().Get("state")}}.Encode(),
		Definition: id, Principal: "alice", HasPrincipal: true,
		Cookie: func(name string) string {
			if name == started.Cookie.Name {
				return started.Cookie.Value
			}
			return ""
		},
		Allowed: func(tokenstore.Key) bool { return true },
	})
	return err
}

func sprint(format string, v any) string { return fmt.Sprintf(format, v) }

// pass lets time go by inside a synctest bubble, where it costs none.
func pass(d time.Duration) { <-time.After(d) }

func stateOf(t testing.TB, started *oauthflow.Started) string {
	t.Helper()
	u, err := url.Parse(started.AuthorizationURL)
	require.NoError(t, err)
	return u.Query().Get("state")
}
