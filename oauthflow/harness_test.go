package oauthflow_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// idp is a provider in this process: it rotates strictly, and does what it is told.
type idp struct {
	mu       sync.Mutex
	requests []url.Values // token requests, in order of arrival
	revoked  []string
	tokens   int
	current  map[string]string // grant → its refresh token

	delay    time.Duration // before each answer
	lifetime string        // expires_in as JSON; default 3600
	extra    string        // further members as JSON, with a leading comma
	// answer replaces the usual one where it returns a status or an error.
	answer func(form url.Values) (status int, body string, err error)
	// dial runs before the request is read.
	dial func(ctx context.Context) error
}

func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	dial, delay := p.dial, p.delay
	p.mu.Unlock()
	if dial != nil {
		if err := dial(r.Context()); err != nil {
			return nil, err
		}
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(r.URL.Path, "/revoke") {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.revoked = append(p.revoked, form.Get("token"))
		return respond(http.StatusOK, ""), nil
	}
	status, body, err := p.token(form)
	if err == nil && delay > 0 {
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(delay):
		}
	}
	if err != nil {
		return nil, err
	}
	return respond(status, body), nil
}

// respond makes a response; a body "retry-after 60" stands for that header.
func respond(status int, body string) *http.Response {
	header := http.Header{"Content-Type": {"application/json"}}
	if pause, ok := strings.CutPrefix(body, "retry-after "); ok {
		header.Set("Retry-After", pause)
		body = ""
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}
}

func (p *idp) token(form url.Values) (int, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, form)
	if p.answer != nil {
		if status, body, err := p.answer(form); status != 0 || err != nil {
			return status, body, err
		}
	}
	return p.usual(form)
}

// usual rotates; mu is held.
func (p *idp) usual(form url.Values) (int, string, error) {
	if p.current == nil {
		p.current = map[string]string{}
	}
	grant := form.Get("code")
	if form.Get("grant_type") == "refresh_token" {
		grant, _, _ = strings.Cut(form.Get("refresh_token"), "/")
		if p.current[grant] != form.Get("refresh_token") {
			delete(p.current, grant) // reuse: the whole family goes
			return http.StatusBadRequest, `{"error":"invalid_grant"}`, nil
		}
	}
	p.tokens++
	p.current[grant] = fmt.Sprintf("%s/RT%d", grant, p.tokens)
	lifetime := p.lifetime
	if lifetime == "" {
		lifetime = "3600"
	}
	return http.StatusOK, fmt.Sprintf(`{"access_token":"AT%d","token_type":"Bearer","expires_in":%s,"refresh_token":%q%s}`,
		p.tokens, lifetime, p.current[grant], p.extra), nil
}

// set changes the provider under its lock.
func (p *idp) set(change func(p *idp)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// refreshes returns the refresh tokens presented so far.
func (p *idp) refreshes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, form := range p.requests {
		if form.Get("grant_type") == "refresh_token" {
			list = append(list, form.Get("refresh_token"))
		}
	}
	return list
}

// revocations returns the tokens it was asked to revoke.
func (p *idp) revocations() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.revoked)
}

// always answers every token request the same way.
func always(status int, body string) func(url.Values) (int, string, error) {
	return func(url.Values) (int, string, error) { return status, body, nil }
}

// lost takes the request and never answers.
func lost(url.Values) (int, string, error) { return 0, "", errors.New("connection reset by peer") }

// world is a provider, a store, and managers (processes) on both.
type world struct {
	t      testing.TB
	idp    *idp
	store  tokenstore.Store
	sealer *tokenstore.Sealer
	target oauthflow.Target
	m      *oauthflow.Manager
	logs   *strings.Builder
	logMu  sync.Mutex
	// transport takes the idp's place where it is set.
	transport http.RoundTripper
}

func newWorld(t testing.TB, change ...func(*oauthflow.Config)) *world {
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	w := &world{
		t: t, idp: &idp{}, store: tokenstore.NewMemory(), sealer: tokenstore.NewSealer(ring), logs: &strings.Builder{},
		target: oauthflow.Target{
			Key: tokenstore.Key{Definition: "def", Org: "acme"}, Name: "Graph", EntityID: "common",
			RedirectURI: "https://app.example.com/oauth/callback/Graph",
			Client: &oauthflow.Client{
				Provider: oauthflow.Provider{
					AuthorizationURL: "https://login.example.com/{entity_id}/authorize",
					TokenURL:         "https://login.example.com/{entity_id}/token",
					RevocationURL:    "https://login.example.com/{entity_id}/revoke",
				},
				ClientID: "client", ClientSecret: tokenstore.NewSecret("canary-client-secret"), Scopes: []string{"read"},
			},
		},
	}
	w.m = w.process(change...)
	return w
}

// Write implements io.Writer for the log.
func (w *world) Write(b []byte) (int, error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.logs.Write(b)
}

// Target implements oauthflow.Targets.
func (w *world) Target(context.Context, tokenstore.Key) (oauthflow.Target, error) {
	return w.target, nil
}

// process returns another manager on the same store and provider.
func (w *world) process(change ...func(*oauthflow.Config)) *oauthflow.Manager {
	cfg := oauthflow.Config{
		Store: w.store, Sealer: w.sealer, Targets: w, Transport: w.idp, Secure: true,
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if w.transport != nil {
		cfg.Transport = w.transport
	}
	for _, c := range change {
		c(&cfg)
	}
	m, err := oauthflow.New(cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, m.Close()) })
	return m
}

// start begins a flow for alice and returns it with its state.
func (w *world) start() (*oauthflow.Started, string) {
	started, err := w.m.Start(context.Background(), w.target, oauthflow.StartOptions{Principal: "alice", ReturnTo: "/back"})
	require.NoError(w.t, err)
	u, err := url.Parse(started.AuthorizationURL)
	require.NoError(w.t, err)
	return started, u.Query().Get("state")
}

// arriving is the callback as alice's browser makes it.
func (w *world) arriving(started *oauthflow.Started, query url.Values) oauthflow.CallbackRequest {
	return oauthflow.CallbackRequest{
		RawQuery: query.Encode(), Definition: w.target.Key.Definition, Principal: "alice", HasPrincipal: true,
		Cookie: func(name string) string {
			if name == started.Cookie.Name {
				return started.Cookie.Value
			}
			return ""
		},
		Allowed: func(tokenstore.Key) bool { return true },
	}
}

// connect walks a whole flow; the code is the provider's name for the grant.
func (w *world) connect(code string) {
	started, state := w.start()
	_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {code}, "state": {state}}))
	require.NoError(w.t, err)
}

func (w *world) row() *tokenstore.Connection {
	c, err := w.store.Load(context.Background(), w.target.Key)
	require.NoError(w.t, err)
	return c
}

// token asks m and returns the access token.
func (w *world) token(m *oauthflow.Manager) (string, error) {
	s, err := m.Token(context.Background(), w.target)
	if err != nil {
		return "", err
	}
	return s.AccessToken().Reveal(), nil
}

// requireToken asks m and compares.
func (w *world) requireToken(m *oauthflow.Manager, want string) {
	w.t.Helper()
	got, err := w.token(m)
	require.NoError(w.t, err)
	require.Equal(w.t, want, got)
}

// events returns kinds and reasons of the history, oldest first.
func (w *world) events() []string {
	list, err := w.store.Events(context.Background(), tokenstore.Match{Definition: w.target.Key.Definition}, 0, 1000)
	require.NoError(w.t, err)
	var text []string
	for _, e := range list {
		text = append([]string{strings.TrimSpace(e.Kind + " " + e.Reason)}, text...)
	}
	return text
}

// pass lets time go by inside a synctest bubble, where it costs none.
func pass(d time.Duration) { <-time.After(d) }

// problem is what err, a *ConnectionError of a kind, says.
func problem(t testing.TB, err, kind error) oauthflow.ConnectionError {
	t.Helper()
	var ce *oauthflow.ConnectionError
	require.ErrorAs(t, err, &ce)
	require.ErrorIs(t, err, kind)
	return *ce
}

// idToken returns an unsigned JWT with these claims.
func idToken(claims map[string]any) string {
	payload, _ := json.Marshal(claims) //nolint:errchkjson // of strings
	return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".sig"
}

// faulty is a store that fails on demand.
type faulty struct {
	tokenstore.Store
	mu     sync.Mutex
	load   error // Load fails with it
	update error // Update fails with it, having written nothing
	after  error // the next Update writes, and fails with it
	loads  int
	skew   time.Duration // its clock is ahead of this machine's
	hold   chan struct{} // the second Load from now waits until it is closed
	held   int
}

func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	f.mu.Lock()
	f.loads++
	err, skew := f.load, f.skew
	var hold chan struct{}
	if f.hold != nil {
		if f.held++; f.held == 2 {
			hold = f.hold
		}
	}
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err != nil {
		return nil, err
	}
	c, err := f.Store.Load(ctx, key)
	if c != nil {
		c.ReadAt = c.ReadAt.Add(skew)
	}
	return c, err
}

func (f *faulty) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	f.mu.Lock()
	err, after, skew := f.update, f.after, f.skew
	f.after = nil
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c, err := f.Store.Update(ctx, key, func(c *tokenstore.Connection, now time.Time) error { return change(c, now.Add(skew)) })
	if c != nil {
		c.ReadAt = c.ReadAt.Add(skew)
	}
	if after != nil {
		return nil, after
	}
	return c, err
}

var errStore = errors.New("the disk is on fire")
