package oauthtest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// The whole way, as a person and an application go it.
func TestConnectCallRefresh(t *testing.T) {
	bothWays(t, oauthtest.Config{}, func(t *testing.T, p *oauthtest.Provider, a *app) {
		t.Helper()
		first := a.connect("alice")
		require.Equal(t, "Bearer", first.str("token_type"))
		require.Equal(t, "offline_access Directory.Read.All", first.str("scope"))
		require.EqualValues(t, 3600, first.Members["expires_in"])
		require.Equal(t, "no-store", first.Header.Get("Cache-Control"))

		users := a.get(a.urls.UsersURL, first.str("access_token"))
		require.Equal(t, http.StatusOK, users.Status)
		require.Len(t, users.Members["value"], 8)

		second := a.refresh(first.str("refresh_token"))
		require.Equal(t, http.StatusOK, second.Status)
		require.NotEqual(t, first.str("refresh_token"), second.str("refresh_token"))
		require.NotEqual(t, first.str("access_token"), second.str("access_token"))

		families := p.Families()
		require.Len(t, families, 1)
		require.Equal(t, "acme", families[0].Tenant)
		require.Equal(t, "alice", families[0].User)
		require.Equal(t, 2, families[0].Current)
		require.Empty(t, families[0].Revoked)

		counts := p.Counts()
		require.Equal(t, map[string]int{"authorization_code": 1, "refresh_token": 1}, counts.Requests)
		require.Equal(t, 2, counts.Total())
		require.Zero(t, counts.Repeated)
		require.Equal(t, 1, counts.API)

		journal := p.Journal()
		require.Len(t, journal, 2)
		require.True(t, journal[1].Delivered)
		require.Equal(t, 1, journal[1].Presentation)
		require.Equal(t, families[0].ID, journal[1].Family)
		require.Equal(t, "common", journal[1].Tenant)

		for _, secret := range []string{first.str("access_token"), second.str("refresh_token"), a.secret, verifier} {
			require.Contains(t, p.Secrets(), secret)
		}
	})
}

func TestNoRefreshTokenWithoutOfflineAccess(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	r := a.connect("alice", "scope", "Directory.Read.All")
	require.NotContains(t, r.Members, "refresh_token")
	require.False(t, p.Families()[0].Refreshable)
	require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, r.str("access_token")).Status)
}

func TestTenants(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	for _, test := range []struct {
		tenant, user, wantTenant, wantUser string
	}{
		{"common", "alice", "acme", "alice"}, // the first tenant that has an alice
		{"organizations", "jonas", "globex", "jonas"},
		{"common", "alice@globex.example", "globex", "alice"},
		{"common", "ALICE@Globex.Example", "globex", "alice"},
		{"globex", "alice", "globex", "alice"},
		{"globex.example", "alice", "globex", "alice"},
		{"common", "zoe", "acme", "zoe"}, // a new account
		{"globex", "zoe", "globex", "zoe"},
	} {
		t.Run(test.tenant+" "+test.user, func(t *testing.T) {
			a := *a
			a.t, a.urls = t, p.Endpoints().For(test.tenant)
			a.connect(test.user)
			families := p.Families()
			last := families[len(families)-1]
			require.Equal(t, test.wantTenant, last.Tenant)
			require.Equal(t, test.wantUser, last.User)
		})
	}

	t.Run("a grant stays with its tenant", func(t *testing.T) {
		acme, globex := *a, *a
		acme.t, globex.t = t, t
		acme.urls, globex.urls = p.Endpoints().For("acme"), p.Endpoints().For("globex")
		r := acme.connect("alice")
		globex.requireError(globex.refresh(r.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
		globex.requireError(globex.redeem(acme.code("alice")), http.StatusBadRequest, "invalid_grant")
		require.Equal(t, http.StatusOK, acme.refresh(r.str("refresh_token")).Status)
	})
	t.Run("unknown tenant", func(t *testing.T) {
		a := *a
		a.t, a.urls = t, p.Endpoints().For("initech")
		_, err := a.browser("alice").Walk(t.Context(), a.authorizationURL())
		require.ErrorContains(t, err, "no tenant “initech”")
		a.requireError(a.redeem("x"), http.StatusBadRequest, "invalid_request")
	})
	t.Run("wrong domain", func(t *testing.T) {
		_, err := a.browser("alice@initech.example").Walk(t.Context(), a.authorizationURL())
		require.ErrorContains(t, err, "no tenant with the domain initech.example")
		a := *a
		a.urls = p.Endpoints().For("acme")
		_, err = a.browser("alice@globex.example").Walk(t.Context(), a.authorizationURL())
		require.ErrorContains(t, err, "accounts of Acme only")
		_, err = a.browser("<script>").Walk(t.Context(), a.authorizationURL())
		require.ErrorContains(t, err, "Enter a user name")
	})
}

// Over sockets a person's browser walks; Provider.Authorize does it in process
// for whatever host the URL names.
func TestAuthorizeAndDeny(t *testing.T) {
	p := newProvider(t, oauthtest.Config{Issuer: "https://issuer.example/v2.0"})
	a := inProcess(t, p)
	there := strings.Replace(a.authorizationURL(), "https://login.oauthtest.example", "http://127.0.0.1:9400", 1)

	location, err := p.Authorize(t.Context(), there, "bruno")
	require.NoError(t, err)
	u, err := url.Parse(location)
	require.NoError(t, err)
	require.Equal(t, callback, u.Scheme+"://"+u.Host+u.Path)
	require.Equal(t, "https://issuer.example/v2.0", u.Query().Get("iss"))
	require.Equal(t, http.StatusOK, a.redeem(u.Query().Get("code")).Status)

	location, err = p.Deny(t.Context(), there, "bruno")
	require.NoError(t, err)
	u, err = url.Parse(location)
	require.NoError(t, err)
	require.Equal(t, "access_denied", u.Query().Get("error"))
	require.Contains(t, u.Query().Get("error_description"), "\r\n", "as Microsoft's")
	require.Equal(t, "state-1", u.Query().Get("state"))
	require.Equal(t, "https://issuer.example/v2.0", u.Query().Get("iss"))
	require.Empty(t, u.Query().Get("code"))
}
