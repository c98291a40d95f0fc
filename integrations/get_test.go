package integrations_test

import (
	"context"
	"net/http"
	"net/url"
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

func inOrg(ctx context.Context, org string) context.Context { return scope.With(ctx, scope.Of(org)) }
func inGlobal(ctx context.Context) context.Context {
	return scope.With(ctx, scope.Scope{Kind: scope.Global})
}

// Two organizations with their own connections, one without, one that opted out:
// each call gets the right account's token or the right error.
func TestGetResolvesTheScopesConnection(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	alone := definition("Alone")
	alone.NoFallback = true
	require.NoError(t, w.Define(alone))
	w.connect(t, "Graph", "shared", integrations.Global())
	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	w.connect(t, "Graph", "globex", integrations.Org("globex"))
	w.connect(t, "Alone", "shared", integrations.Global())
	ctx := t.Context()

	for _, c := range []struct {
		name        string
		ctx         context.Context
		integration string
		opts        []integrations.Option
		account     string
		err         error
	}{
		{"own", inOrg(ctx, "acme"), "Graph", nil, "acme", nil},
		{"own, the other one", inOrg(ctx, "globex"), "Graph", nil, "globex", nil},
		{"none of its own", inOrg(ctx, "initech"), "Graph", nil, "shared", nil},
		{"global", inGlobal(ctx), "Graph", nil, "shared", nil},
		{"explicit org", ctx, "Graph", []integrations.Option{integrations.Org("acme")}, "acme", nil},
		{"explicit org beats the context", inOrg(ctx, "globex"), "Graph", []integrations.Option{integrations.Org("acme")}, "acme", nil},
		{"explicit global", inOrg(ctx, "acme"), "Graph", []integrations.Option{integrations.Global()}, "shared", nil},
		{"no scope", ctx, "Graph", nil, "", integrations.ErrNoOrg},
		{"empty org from a hook", ctx, "Graph", []integrations.Option{integrations.Org("")}, "", integrations.ErrNoOrg},
		{"empty org does not fall back to the context", inOrg(ctx, "acme"), "Graph", []integrations.Option{integrations.Org("")}, "", integrations.ErrNoOrg},
		{"no fallback", inOrg(ctx, "acme"), "Alone", nil, "", integrations.ErrNotConnected},
		{"unknown integration", inOrg(ctx, "acme"), "Nope", nil, "", integrations.ErrNotFound},
		{"NUL in org", inOrg(ctx, "acme\x00"), "Graph", nil, "", integrations.ErrNotFound},
		{"SQL in org", inOrg(ctx, "acme' OR '1'='1"), "Graph", nil, "", integrations.ErrNotFound},
		{"another case is another org", inOrg(ctx, "ACME"), "Graph", nil, "shared", nil},
		{"wildcard", inOrg(ctx, "%"), "Graph", nil, "", integrations.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := w.Get(c.ctx, c.integration, c.opts...)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				require.Nil(t, in)
				return
			}
			require.NoError(t, err)
			require.Contains(t, in.OAuth().AccessToken(), "-"+c.account+"-")
			require.Equal(t, "common", in.EntityID())
		})
	}
}

func TestSingleTenantHostsNeedNoScope(t *testing.T) {
	w := newWorld(t, func(c *integrations.Config) { c.SingleTenant = true })
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared")
	in, err := w.Get(t.Context(), "Graph")
	require.NoError(t, err)
	require.Contains(t, in.OAuth().AccessToken(), "-shared-")
	_, err = w.Get(t.Context(), "Graph", integrations.Org(""))
	require.ErrorIs(t, err, integrations.ErrNoOrg, "an empty organization that was said is a mistake there too")
}

func TestRunsStayInTheirScope(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	w.connect(t, "Graph", "globex", integrations.Org("globex"))
	run := func(s scope.Scope, cross bool) (context.Context, *[]string) {
		var told []string
		ctx := scope.WithRegistry(t.Context(), w.Registry)
		return scope.WithRun(ctx, &scope.Run{Scope: s, CrossOrg: cross, Redact: func(s string) { told = append(told, s) }}), &told
	}
	ctx, told := run(scope.Of("acme"), false)
	in, err := integrations.Get(ctx, "Graph")
	require.NoError(t, err)
	require.Contains(t, in.OAuth().AccessToken(), "-acme-")
	require.Contains(t, *told, in.OAuth().AccessToken(), "the run's redactor hears of every token it hands out")
	_, found := in.OAuth().Extra("authed_user")
	require.True(t, found)
	require.Contains(t, *told, "xoxp-of-the-user", "also of those inside other members")
	require.NotContains(t, *told, "U1")

	_, err = integrations.Get(ctx, "Graph", integrations.Global())
	require.NoError(t, err)
	_, err = integrations.Get(ctx, "Graph", integrations.Org("globex"))
	require.ErrorIs(t, err, integrations.ErrForbiddenOrg)
	_, err = w.Get(ctx, "Graph", integrations.Org("globex"))
	require.ErrorIs(t, err, integrations.ErrForbiddenOrg, "the registry itself obeys the run, too")
	_, err = integrations.Get(inOrg(ctx, "globex"), "Graph")
	require.ErrorIs(t, err, integrations.ErrForbiddenOrg, "a run cannot give itself another scope")

	for _, s := range []struct {
		scope scope.Scope
		cross bool
	}{{scope.Scope{Kind: scope.Global}, false}, {scope.Of("acme"), true}} {
		ctx, _ := run(s.scope, s.cross)
		in, err := integrations.Get(ctx, "Graph", integrations.Org("globex"))
		require.NoError(t, err)
		require.Contains(t, in.OAuth().AccessToken(), "-globex-")
	}
}

// An organization's own definition under a global one's name shares nothing with
// it: neither tokens, nor the fallback, nor the redirect path.
func TestOrgOwnedDefinitionsNeverSeeTheGlobalOnesTokens(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	own := definition("Graph")
	own.Org = "acme"
	own.OAuth.AuthorizationURL = "https://login.acme.example/{entity_id}/authorize"
	own.OAuth.TokenURL = "https://login.acme.example/{entity_id}/token"
	require.NoError(t, w.Define(own))
	w.connect(t, "Graph", "shared", integrations.Global())

	_, err := w.Get(inOrg(t.Context(), "acme"), "Graph")
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	require.Equal(t, 1, w.idp.count(), "nothing was sent for acme")

	w.connect(t, "Graph", "mine", integrations.Org("acme"))
	in, err := w.Get(inOrg(t.Context(), "acme"), "Graph")
	require.NoError(t, err)
	require.Contains(t, in.OAuth().AccessToken(), "at-login.acme.example-common-mine-")
	in, err = w.Get(inOrg(t.Context(), "globex"), "Graph")
	require.NoError(t, err)
	require.Contains(t, in.OAuth().AccessToken(), "at-login.example.com-common-shared-")

	mine, err := w.Status(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	theirs, err := w.Status(t.Context(), "Graph", integrations.Org("globex"))
	require.NoError(t, err)
	require.NotEqual(t, mine.ID, theirs.ID)
	require.Equal(t, "https://app.example.com/oauth/callback/"+mine.ID, mine.RedirectURI)
	require.Equal(t, "https://app.example.com/oauth/callback/Graph", theirs.RedirectURI)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	w := newWorld(t)
	_, err := w.Get(inOrg(t.Context(), "acme"), "Graph")
	require.ErrorContains(t, err, "nothing is defined yet")
	require.NoError(t, w.Define(definition("Graph")))

	_, err = w.Get(inOrg(t.Context(), "acme"), "Graph")
	var e *integrations.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "https://app.example.com/oauth/connect/Graph?org=acme", e.ConnectURL)
	require.Equal(t, tokenstore.NotConnected, e.Status)
	require.Equal(t, "not_connected", e.ErrorCode())
	require.ErrorContains(t, err, "connect at https://app.example.com/oauth/connect/Graph")

	_, err = integrations.Get(t.Context(), "Graph")
	require.ErrorContains(t, err, "bf.Integrations.Get")
	_, err = w.Get(t.Context(), "Graph")
	require.ErrorContains(t, err, "bf.WithOrg")
	require.ErrorContains(t, w.Define(definition("Graph")), "defined already")

	_, err = w.Get(inGlobal(t.Context()), "<script>\r\n")
	require.ErrorIs(t, err, integrations.ErrNotFound)
	require.NotContains(t, err.Error(), "script", "nothing a stranger sent is repeated")
}

func TestReauthRequiredNeverFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		require.NoError(t, w.Define(definition("Graph")))
		w.connect(t, "Graph", "shared", integrations.Global())
		w.connect(t, "Graph", "acme", integrations.Org("acme"))
		w.idp.mu.Lock()
		for rt, account := range w.idp.refresh {
			if account == "acme" {
				delete(w.idp.refresh, rt) // the password was changed
			}
		}
		w.idp.mu.Unlock()
		pass(2 * time.Hour)
		_, err := w.Get(inOrg(t.Context(), "acme"), "Graph")
		require.ErrorIs(t, err, integrations.ErrReauthRequired)
		sent := w.idp.count()
		for range 1000 {
			_, err = w.Get(inOrg(t.Context(), "acme"), "Graph")
			require.ErrorIs(t, err, integrations.ErrReauthRequired)
		}
		require.Equal(t, sent, w.idp.count(), "a dead grant costs nothing")
		in, err := w.Get(inOrg(t.Context(), "globex"), "Graph")
		require.NoError(t, err)
		require.Contains(t, in.OAuth().AccessToken(), "-shared-")

		st, err := w.Status(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)
		require.Equal(t, tokenstore.ReauthRequired, st.Status)
		require.Equal(t, "invalid_grant", st.LastError.Code)
		require.Contains(t, st.StatusMessage, "Connect again")
	})
}

func TestTenThousandCallersOneTokenRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		require.NoError(t, w.Define(definition("Graph")))
		w.connect(t, "Graph", "acme", integrations.Org("acme"))
		pass(2 * time.Hour)
		before := w.idp.count()
		ctx := inOrg(t.Context(), "acme")
		var wg sync.WaitGroup
		var mu sync.Mutex
		tokens := map[string]int{}
		for range 10_000 {
			wg.Go(func() {
				in, err := w.Get(ctx, "Graph")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				tokens[in.OAuth().AccessToken()]++
			})
		}
		wg.Wait()
		require.Equal(t, before+1, w.idp.count())
		require.Len(t, tokens, 1)
	})
}

func TestExtraMembersSurviveStorage(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	in, err := w.Get(inGlobal(t.Context()), "Graph")
	require.NoError(t, err)
	v, ok := in.OAuth().Extra("instance_url")
	require.True(t, ok)
	require.Equal(t, "https://na1.example.com", v)
	_, ok = in.OAuth().Extra("refresh_token")
	require.False(t, ok, "workflows never see refresh tokens")
}

func TestIntegrationWithoutOAuth(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(integrations.Definition{Name: "Plain", DefaultEntityID: "e1"}))
	in, err := w.Get(inGlobal(t.Context()), "Plain")
	require.NoError(t, err)
	require.False(t, in.OAuth().Configured())
	require.Empty(t, in.OAuth().AccessToken())
	require.Equal(t, "e1", in.EntityID())
	_, err = in.TokenSource(t.Context()).Token()
	require.Error(t, err)
	_, err = w.Connect(t.Context(), "Plain", integrations.ConnectOptions{Principal: "alice"}, integrations.Global())
	require.ErrorIs(t, err, integrations.ErrNotInteractive)
}

func TestDefineRefusesWhatCannotWork(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func(*integrations.Definition)
		says   string
	}{
		{"no name", func(d *integrations.Definition) { d.Name = "" }, "name must be"},
		{"name with a slash", func(d *integrations.Definition) { d.Name = "a/b" }, "name must be"},
		{"org dots", func(d *integrations.Definition) { d.Org = ".." }, "org must be"},
		{"API host with scheme", func(d *integrations.Definition) { d.APIHosts = []string{"https://api.example.com"} }, "api_hosts[0]"},
		{"API host wildcard", func(d *integrations.Definition) { d.APIHosts = []string{"*.example.com"} }, "wildcard"},
		{"header", func(d *integrations.Definition) { d.APIHeader = "X Token" }, "api_header"},
		{"no client id", func(d *integrations.Definition) { d.OAuth.ClientID = "" }, "oauth.client_id"},
		{"http token URL", func(d *integrations.Definition) { d.OAuth.TokenURL = "http://login.example.com/token" }, "oauth.token_url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := definition("Graph")
			c.change(&d)
			require.ErrorContains(t, w.Define(d), c.says)
		})
	}
}

// What a definition was checked as stays: a provider that is adapted for the next
// definition must not change the one before.
func TestDefinitionsAreCopied(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	d.OAuth.AuthorizationParams = url.Values{"prompt": {"consent"}}
	require.NoError(t, w.Define(d))
	d.OAuth.AuthorizationParams["prompt"][0] = "none"
	d.OAuth.AuthorizationParams.Set("state", "mine")
	d.OAuth.Scopes[0], d.APIHosts[0] = "everything", "evil.example.com"

	started, err := w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Global())
	require.NoError(t, err)
	u, err := url.Parse(started.AuthorizationURL)
	require.NoError(t, err)
	require.Equal(t, "consent", u.Query().Get("prompt"))
	require.Equal(t, "offline_access", u.Query().Get("scope"))
	require.NotEqual(t, "mine", u.Query().Get("state"))

	st, err := w.Status(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	st.ScopesRequested[0] = "everything"
	st, err = w.Status(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, []string{"offline_access"}, st.ScopesRequested)
}

func TestUnresolvedEntityIsNamed(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	d.DefaultEntityID = ""
	require.NoError(t, w.Define(d))
	_, err := w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Global())
	require.ErrorIs(t, err, integrations.ErrInvalid)
	require.ErrorContains(t, err, "{entity_id}")
	require.ErrorContains(t, err, "DefaultEntityID")
	require.Zero(t, w.idp.count())
}

func TestCallersContextIsObeyed(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	ctx, cancel := context.WithCancel(inGlobal(t.Context()))
	cancel()
	_, err := w.Get(ctx, "Graph")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, w.idp.count())
}

var _ http.RoundTripper = (*idp)(nil)

func TestSecretsAreInNoText(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	in, err := w.Get(inGlobal(t.Context()), "Graph")
	require.NoError(t, err)
	for _, text := range []string{sprint("%v", in), sprint("%+v", in), sprint("%#v", in), sprint("%+v", in.OAuth()), sprint("%+v", *in)} {
		require.False(t, strings.Contains(text, in.OAuth().AccessToken()) || strings.Contains(text, "client-secret"), text)
	}
}
