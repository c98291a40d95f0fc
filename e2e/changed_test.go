package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// A token stays with the tenant, the client and the provider that it came from. If
// one of those changes under a live connection, nothing is sent to anybody, the
// status says which it was, and taking the change back heals.
func TestChangedUnderALiveConnection(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := oauthtest.DefaultClient()
	provider, urls := newOAuthTest(t, oauthtest.Config{
		Clients: []oauthtest.Client{client, {ID: "another-client", Secret: "another-secret"}}, Rotation: oauthtest.Strict,
	})
	elsewhere, elsewhereURLs := newOAuthTest(t, oauthtest.Config{})
	seen := func() [2]int {
		a, b := provider.Counts(), elsewhere.Counts()
		return [2]int{a.Total() + b.Total() + a.Revocations + b.Revocations, a.API + b.API}
	}

	s := newSite(t, "EGRESS=127.0.0.0/8")
	c := newClient(s.start(t, s.addr()))
	host := strings.TrimSuffix(strings.TrimPrefix(urls.UsersURL, "http://"), "/v1.0/users")
	oauth := object{
		"client_id": client.ID, "client_secret": client.Secret, "scopes": "offline_access Directory.Read.All",
		"authorization_url": urls.AuthorizationURL, "token_url": urls.TokenURL, "revocation_url": urls.RevocationURL,
	}
	_, err := c.create(ctx, object{
		"name": created, "default_entity_id": "acme", "api_hosts": []string{host}, "test_url": urls.UsersURL, "oauth": oauth,
	})
	require.NoError(t, err)
	what := created + "?org=north"
	require.NoError(t, c.mapTo(ctx, created, "north", "acme"))
	require.NoError(t, c.connect(ctx, what))

	patched := func(oauth object) func() error {
		return func() error { return c.change(ctx, created, object{"oauth": oauth}) }
	}
	mapped := func(entity string) func() error {
		return func() error { return c.mapTo(ctx, created, "north", entity) }
	}
	for _, change := range []struct {
		reason   string
		do, undo func() error
	}{
		{"entity_changed", mapped("globex"), mapped("acme")},
		{
			"client_changed",
			patched(object{"client_id": "another-client", "client_secret": "another-secret"}),
			patched(object{"client_id": client.ID, "client_secret": client.Secret}),
		},
		{
			"definition_changed",
			patched(object{"token_url": elsewhereURLs.TokenURL, "client_secret": client.Secret}),
			patched(object{"token_url": urls.TokenURL, "client_secret": client.Secret}),
		},
	} {
		st, err := c.refresh(ctx, what)
		require.NoError(t, err, "before %s", change.reason)
		require.Equal(t, "active", st.Status)
		before := seen()

		require.NoError(t, change.do())
		st, err = c.look(ctx, what)
		require.NoError(t, err)
		require.Equal(t, "reauth_required", st.Status, change.reason)
		require.Contains(t, st.StatusMessage, change.reason)
		_, err = c.refresh(ctx, what)
		require.Equal(t, http.StatusConflict, statusOf(err), "%s: %v", change.reason, err)
		require.ErrorContains(t, err, change.reason)
		if change.reason == "entity_changed" { // tests are limited to five a minute
			_, err = c.test(ctx, what)
			require.Equal(t, http.StatusConflict, statusOf(err), "%s: %v", change.reason, err)
		}
		require.Equal(t, before, seen(), "%s: something was sent", change.reason)

		require.NoError(t, change.undo())
		st, err = c.look(ctx, what)
		require.NoError(t, err)
		require.Equal(t, "active", st.Status, "%s: taken back", change.reason)
		require.True(t, c.works(ctx, t, what), "%s: taken back", change.reason)
	}

	// Whoever leads secrets elsewhere must know them.
	before := seen()
	for _, change := range []object{{"token_url": elsewhereURLs.TokenURL}, {"revocation_url": elsewhereURLs.RevocationURL}, {"client_id": "another-client"}} {
		err := c.change(ctx, created, object{"oauth": change})
		require.Equal(t, http.StatusUnprocessableEntity, statusOf(err), "%v: %v", change, err)
		require.Contains(t, fieldsOf(err), "oauth.client_secret", "%v: %v", change, err)
	}
	require.Equal(t, before, seen())
	require.Zero(t, provider.Counts().Repeated)
	require.Zero(t, elsewhere.Counts().Total())
}
