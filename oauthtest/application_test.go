package oauthtest_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

const (
	graphScope = "https://graph.oauthtest.example/.default"
	mailScope  = "https://mail.oauthtest.example/.default"
)

// mint asks for a token of the application's own.
func (a *app) mint(tenant string, pairs ...string) reply {
	a.t.Helper()
	to := oauthtest.At("https://login.oauthtest.example").For(tenant).TokenURL
	r, err := a.post(a.t.Context(), to, append([]string{"grant_type", "client_credentials", "scope", graphScope}, pairs...)...)
	require.NoError(a.t, err)
	return r
}

func TestClientCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, oauthtest.Config{AccessLifetime: 90 * time.Second})
		a := inProcess(t, p)
		r := a.mint("globex")
		require.Equal(t, http.StatusOK, r.Status, r.Body)
		require.NotContains(t, r.Members, "refresh_token", "RFC 6749 §4.4.3")
		require.Equal(t, graphScope, r.str("scope"))
		require.EqualValues(t, 90, r.Members["expires_in"])
		names, _ := a.allUsers(a.urls.UsersURL, r.str("access_token"))
		require.Equal(t, "alice ines jonas kamala", names, "of that tenant only")

		again := a.mint("globex")
		require.NotEqual(t, r.str("access_token"), again.str("access_token"))
		require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, r.str("access_token")).Status, "minting withdraws nothing")
		tenant := oauthtest.DefaultTenants()[0]
		require.Equal(t, http.StatusOK, a.mint(tenant.GUID()).Status)
		families := p.Families()
		require.Len(t, families, 2, "one for each tenant, however often")
		require.Empty(t, families[0].User)
		require.False(t, families[0].Refreshable)

		pass(90 * time.Second)
		require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, again.str("access_token")).Status)
		require.Contains(t, p.Secrets(), again.str("access_token"))
		require.Equal(t, 3, p.Counts().Requests["client_credentials"])
	})
}

func TestClientCredentialsRefused(t *testing.T) {
	p := newProvider(t, oauthtest.Config{
		Clients:   []oauthtest.Client{oauthtest.DefaultClient(), {ID: "public"}},
		Resources: []string{"https://graph.oauthtest.example"},
	})
	a := inProcess(t, p)
	for _, test := range []struct {
		name, tenant string
		pairs        []string
		status       int
		want         string
	}{
		{"common", "common", nil, 400, "invalid_request"},
		{"organizations", "organizations", nil, 400, "invalid_request"},
		{"unknown tenant", "initech", nil, 400, "invalid_request"},
		{"public client", "acme", []string{"client_id", "public", "client_secret", ""}, 400, "unauthorized_client"},
		{"wrong secret", "acme", []string{"client_secret", "x"}, 401, "invalid_client"},
		{"no scope", "acme", []string{"scope", ""}, 400, "invalid_request"},
		{"a delegated scope", "acme", []string{"scope", "Directory.Read.All"}, 400, "invalid_scope"},
		{"two resources", "acme", []string{"scope", graphScope + " " + mailScope}, 400, "invalid_scope"},
		{"nothing before .default", "acme", []string{"scope", "/.default"}, 400, "invalid_scope"},
		{"unknown resource", "acme", []string{"scope", mailScope}, 400, "invalid_scope"},
		{"unknown audience", "acme", []string{"scope", "", "audience", "https://mail.oauthtest.example"}, 400, "invalid_scope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a.requireError(a.mint(test.tenant, test.pairs...), test.status, test.want)
		})
	}
	require.Empty(t, p.Families())
	require.Equal(t, http.StatusOK, a.mint("acme").Status)
}

// What a token is for stands in the journal: by scope, or by audience.
func TestJournalOfScopes(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	require.Equal(t, http.StatusOK, a.mint("acme", "scope", mailScope).Status)
	byAudience := a.mint("acme", "scope", "", "audience", "https://api.example")
	require.Equal(t, http.StatusOK, byAudience.Status)
	require.NotContains(t, byAudience.Members, "scope")
	a.mint("common")

	journal := p.Journal()
	require.Len(t, journal, 3)
	for i, want := range []oauthtest.Request{
		{Scope: mailScope, Granted: mailScope, Tenant: "acme", Status: 200},
		{Audience: "https://api.example", Tenant: "acme", Status: 200},
		{Scope: graphScope, Tenant: "common", Status: 400, Error: "invalid_request"},
	} {
		want.At, want.Client, want.Grant, want.Delivered = journal[i].At, "test-client", "client_credentials", true
		require.Equal(t, want, journal[i])
	}
}

// A refresh token opens other resources, too; each reply says what it is for.
func TestRefreshForAnotherResource(t *testing.T) {
	p := newProvider(t, oauthtest.Config{Resources: []string{"https://mail.oauthtest.example"}})
	a := inProcess(t, p)
	token := a.connect("alice").str("refresh_token")
	for _, test := range []struct{ scope, audience, granted, problem string }{
		{"", "", "offline_access Directory.Read.All", ""},
		{"Directory.Read.All", "", "Directory.Read.All", ""},
		{mailScope, "", mailScope, ""},
		{mailScope + " offline_access", "", mailScope + " offline_access", ""},
		{"", "https://mail.oauthtest.example", "offline_access Directory.Read.All", ""},
		{"Mail.Read", "", "", "invalid_scope"},
		{graphScope, "", "", "invalid_scope"}, // Resources does not have it
		{"", "https://graph.oauthtest.example", "", "invalid_scope"},
		{"https://mail.oauthtest.example/Mail.Read", "", "", "invalid_scope"}, // not granted
	} {
		r := a.refresh(token, "scope", test.scope, "audience", test.audience)
		last := p.Journal()[len(p.Journal())-1]
		require.Equal(t, [2]string{test.scope, test.audience}, [2]string{last.Scope, last.Audience})
		if test.problem != "" {
			a.requireError(r, http.StatusBadRequest, test.problem)
			continue // refused before it was used: the token lives
		}
		require.Equal(t, http.StatusOK, r.Status, r.Body)
		require.Equal(t, test.granted, r.str("scope"))
		require.Equal(t, test.granted, last.Granted)
		require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, r.str("access_token")).Status)
		token = r.str("refresh_token")
	}

	anything := inProcess(t, newProvider(t, oauthtest.Config{}))
	r := anything.refresh(anything.connect("alice").str("refresh_token"), "scope", graphScope+" "+mailScope)
	anything.requireError(r, http.StatusBadRequest, "invalid_scope")
}

func TestApplicationsTokensSurvive(t *testing.T) {
	config := oauthtest.Config{StateFile: filepath.Join(t.TempDir(), "state.json")}
	first := inProcess(t, newProvider(t, config)).mint("acme")
	require.Equal(t, http.StatusOK, first.Status)

	p := newProvider(t, config)
	a := inProcess(t, p)
	require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, first.str("access_token")).Status)
	n, err := p.Revoke("")
	require.NoError(t, err)
	require.Zero(t, n, "no user, no password to change")
	revoked, err := a.post(t.Context(), a.urls.RevocationURL, "token", first.str("access_token"))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, revoked.Status)
	require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, first.str("access_token")).Status)
	require.NoError(t, p.ExpireAll())
	require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, a.mint("acme").str("access_token")).Status)
}

func TestScriptedClientCredentials(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	p.Script(oauthtest.ClientCredentials, oauthtest.Fail(http.StatusServiceUnavailable, "temporarily_unavailable", "Later."))
	a.connect("alice")
	a.requireError(a.mint("acme"), http.StatusServiceUnavailable, "temporarily_unavailable")
	require.Equal(t, http.StatusOK, a.mint("acme").Status)
}
