package httpadapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// base is where most sites are; its provider is login.oauthtest.example.
const (
	base     = "https://app.example.com"
	provider = "https://login.oauthtest.example"
)

// site is a Bifrost behind the adapter, with a provider in the same process.
type site struct {
	t        *testing.T
	bf       *bifrost.Bifrost
	handler  *httpadapter.Handler
	provider *oauthtest.Provider
	base     string
	log      *logBook
}

type siteConfig struct {
	base    string
	adapter httpadapter.Config
	idp     oauthtest.Config
	store   bifrost.Store
	stopped bool // not started
	empty   bool // nothing defined
}

func newSite(t *testing.T, change ...func(*siteConfig)) *site {
	t.Helper()
	cfg := siteConfig{base: base, adapter: httpadapter.Config{Principal: fromHeaders}, store: bifrost.Memory()}
	for _, f := range change {
		f(&cfg)
	}
	s := &site{t: t, base: cfg.base, log: &logBook{}}
	cfg.idp.Clients = []oauthtest.Client{{ID: "app", Secret: "canary-client-secret", RedirectURIs: []string{
		cfg.base + "/oauth/callback/Graph", cfg.base + "/oauth/callback/Drive", cfg.base + "/oauth/callback/" + warehouse().ID(),
		cfg.base + "/oauth/callback/Stored",
	}}}
	var err error
	s.provider, err = oauthtest.New(cfg.idp)
	require.NoError(t, err)
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.bf, err = bifrost.New(bifrost.Config{
		BaseURL: cfg.base, Store: cfg.store, Keys: keys, Logger: logger,
		Transport: s.provider.RoundTripper(), APITransport: s.provider.RoundTripper(),
		Egress: []string{"*.oauthtest.example"}, // else names that do not exist are looked up
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.bf.Close()) })
	if !cfg.empty {
		s.define()
	}
	cfg.adapter.Logger = logger
	s.handler = httpadapter.New(s.bf, cfg.adapter)
	if !cfg.stopped {
		require.NoError(t, s.bf.Start(context.WithoutCancel(t.Context())))
	}
	return s
}

// client is the OAuth side of the test integrations.
func client() *oauthflow.Client {
	urls := oauthtest.At(provider)
	return &oauthflow.Client{
		Provider: oauthflow.Provider{
			AuthorizationURL: urls.AuthorizationURL, TokenURL: urls.TokenURL, RevocationURL: urls.RevocationURL,
		},
		Flow: oauthflow.AuthorizationCode, ClientID: "app", ClientSecret: bifrost.Secret("canary-client-secret"),
		Scopes: []string{"offline_access", "Directory.Read.All"},
	}
}

// warehouse is an integration of globex alone.
func warehouse() *integrations.Definition {
	return &integrations.Definition{Name: "Warehouse", Org: "globex", DefaultEntityID: "globex", OAuth: client()}
}

type echoInput struct {
	Text string   `json:"text"`
	Tags []string `json:"tags,omitempty"`
}

func (s *site) define() {
	for _, d := range []integrations.Definition{
		{
			Name: "Graph", Description: "Microsoft Graph", DefaultEntityID: "common", APIHosts: []string{"graph.oauthtest.example"},
			TestURL: s.provider.Endpoints().UsersURL, OAuth: client(),
		},
		{Name: "Drive", Description: "Files", DefaultEntityID: "common", OAuth: client()},
		{Name: "Plain", Description: "Nothing to connect", Config: []integrations.ConfigField{
			{Key: "region", Type: integrations.ConfigString, Description: "Where", Options: []any{"eu", "us"}, Default: "eu"},
			{Key: "api_key", Type: integrations.ConfigSecret},
			{Key: "page.size", Type: integrations.ConfigInt},
			{Key: "labels", Type: integrations.ConfigJSON},
		}},
		{Name: "Unset", Description: "No tenant", OAuth: client()},
		*warehouse(),
	} {
		require.NoError(s.t, s.bf.Integrations.Define(d))
	}
	w := s.bf.Workflows
	workflow.MustRegister(w, "list_users", func(ctx context.Context, _ struct{}) ([]map[string]any, error) {
		graph, err := integrations.Get(ctx, "Graph")
		if err != nil {
			return nil, err
		}
		workflow.Logger(ctx).Info("asking", "token", graph.OAuth().AccessToken())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.provider.Endpoints().UsersURL, nil)
		if err != nil {
			return nil, err
		}
		res, err := graph.Client().Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		var page struct{ Value []map[string]any }
		err = json.NewDecoder(res.Body).Decode(&page)
		return page.Value, err
	}, workflow.Description("List users"), workflow.AllowMembers())
	workflow.MustRegister(w, "echo", func(_ context.Context, in echoInput) (echoInput, error) { return in, nil },
		workflow.Description("For administrators"))
	workflow.MustRegister(w, "fail", func(context.Context, struct{}) (any, error) {
		return nil, errors.New("<b>bold</b> failure")
	}, workflow.AllowMembers())
	release := make(chan struct{})
	s.t.Cleanup(func() { close(release) }) // before Close, which waits
	workflow.MustRegister(w, "wait", func(context.Context, struct{}) (any, error) {
		<-release
		return "released", nil
	}, workflow.AllowMembers())
}

// fromHeaders is a Principal hook for tests: "X-Who: user org role".
func fromHeaders(r *http.Request) (httpadapter.Principal, error) {
	who := r.Header.Get("X-Who")
	if who == "" {
		return httpadapter.Principal{}, httpadapter.ErrNoPrincipal
	}
	if who == "fault" {
		return httpadapter.Principal{}, errors.New("canary-session-store-down")
	}
	parts := strings.Split(who+"  ", " ")
	role := map[string]httpadapter.Role{"member": httpadapter.Member, "admin": httpadapter.Admin}[parts[2]]
	return httpadapter.Principal{User: parts[0], Org: parts[1], Role: role}, nil
}

// Principals of the tests.
const (
	nobody = ""
	root   = "root  admin"
	alice  = "alice acme member"
	bob    = "bob acme member"
	gina   = "gina globex member"
)

// browser sends requests and keeps cookies, as one browser does.
type browser struct {
	*site
	who     string
	cookies map[string]string
}

func (s *site) as(who string) *browser {
	return &browser{site: s, who: who, cookies: map[string]string{}}
}

type option func(*http.Request)

func header(name, value string) option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) option { return func(r *http.Request) { r.Host = name } }

// asPage makes the request look as a browser's own.
func asPage(r *http.Request) {
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	if r.Method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", "null") // because of Referrer-Policy: no-referrer
	}
}

func (b *browser) send(method, path, body string, opts ...option) *httptest.ResponseRecorder {
	b.t.Helper()
	u := path
	if !strings.HasPrefix(path, "http") {
		u = b.base + path
	}
	r := httptest.NewRequestWithContext(b.t.Context(), method, u, strings.NewReader(body))
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	if b.who != "" {
		r.Header.Set("X-Who", b.who)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, o := range opts {
		o(r)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *browser) get(path string, opts ...option) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(http.MethodGet, path, "", opts...)
}

func (b *browser) post(path, body string, opts ...option) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(http.MethodPost, path, body, opts...)
}

// start begins a flow and returns the authorization URL.
func (b *browser) start(path, body string) string {
	b.t.Helper()
	w := b.post(path, body)
	require.Equal(b.t, http.StatusOK, w.Code, w.Body)
	var out struct {
		AuthorizationURL string `json:"authorization_url"`
	}
	decode(b.t, w, &out)
	return out.AuthorizationURL
}

// consent walks the provider's pages and returns the callback's path and query.
func (b *browser) consent(authorizationURL string) string {
	b.t.Helper()
	account := "alice@acme.example"
	if strings.Contains(authorizationURL, "/globex/") {
		account = "alice@globex.example"
	}
	callback, err := b.provider.Authorize(b.t.Context(), authorizationURL, account)
	require.NoError(b.t, err)
	return b.local(callback)
}

func (b *browser) deny(authorizationURL string) string {
	b.t.Helper()
	callback, err := b.provider.Deny(b.t.Context(), authorizationURL, "alice@acme.example")
	require.NoError(b.t, err)
	return b.local(callback)
}

func (b *browser) local(callback string) string {
	b.t.Helper()
	path, ok := strings.CutPrefix(callback, b.base)
	require.True(b.t, ok, callback)
	return path
}

// connect does all of it.
func (b *browser) connect(name, query string) {
	b.t.Helper()
	w := b.get(b.consent(b.start("/oauth/connect/"+name+query, "{}")))
	require.Equal(b.t, http.StatusSeeOther, w.Code, w.Body)
}

// tokenRequests is how often the provider's token endpoint was asked.
func (s *site) tokenRequests() int { return s.provider.Counts().Total() }

func decode(t *testing.T, w *httptest.ResponseRecorder, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), into), w.Body.String())
}

// object decodes a JSON object.
func object(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var m map[string]any
	decode(t, w, &m)
	return m
}

func queryOf(t *testing.T, rawURL string) url.Values {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	return u.Query()
}

// logBook keeps everything that is logged.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
