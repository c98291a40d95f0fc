package e2e_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// Connections of one person, and several accounts of one organization, live side
// by side, and end one by one.
func TestPersonalConnections(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	provider, urls := newOAuthTest(t, oauthtest.Config{IDToken: oauthtest.UnsignedIDToken})
	s := newSite(t, "EGRESS=127.0.0.1")
	c := newClient(s.start(t, s.addr()))
	client := oauthtest.DefaultClient()
	_, err := c.create(ctx, object{
		"name": created, "default_entity_id": "acme",
		"oauth": object{
			"client_id": client.ID, "client_secret": client.Secret, "scopes": "openid offline_access",
			"authorization_url": urls.AuthorizationURL, "token_url": urls.TokenURL, "revocation_url": urls.RevocationURL,
		},
	})
	require.NoError(t, err)

	persons := map[string]string{"": "alice", "&user=me": "bruno", "&account=sales": "chiara", "&user=me&account=sales": "dmitri"}
	who := func(whose string) string {
		st, err := c.look(ctx, created+"?org=acme"+whose)
		require.NoError(t, err)
		if st.Connection != "own" {
			return st.Status
		}
		require.Equal(t, "active", st.Status)
		return st.Account.Name
	}
	for whose := range persons {
		require.Equal(t, "not_connected", who(whose))
	}
	for whose, person := range persons {
		browser := c.another()
		browser.person = person
		require.NoError(t, browser.connect(ctx, created+"?org=acme"+whose))
		require.Contains(t, who(whose), person)
	}
	var list struct {
		Items []struct {
			Key struct {
				Org     string `json:"org"`
				User    string `json:"user"`
				Account string `json:"account"`
			} `json:"key"`
		} `json:"items"`
	}
	_, err = c.call(ctx, http.MethodGet, path(created+"?org=acme", "/connections"), nil, &list)
	require.NoError(t, err)
	require.Len(t, list.Items, 4)
	_, err = c.call(ctx, http.MethodGet, path(created+"?org=acme&user=me", "/connections"), nil, &list)
	require.NoError(t, err)
	require.Len(t, list.Items, 2)
	for _, item := range list.Items {
		require.Equal(t, "acme", item.Key.Org)
		require.Equal(t, "admin", item.Key.User)
	}

	for whose, person := range persons { // each is renewed as itself
		st, err := c.refresh(ctx, created+"?org=acme"+whose)
		require.NoError(t, err)
		require.Contains(t, st.Account.Name, person)
	}
	require.Zero(t, provider.Counts().Repeated)
	st, err := c.disconnect(ctx, created+"?org=acme&user=me")
	require.NoError(t, err)
	require.Equal(t, "pending", st.Revocation)
	require.Eventually(t, func() bool { return provider.Counts().Revocations == 2 }, patience, 20*time.Millisecond)
	require.Equal(t, "not_connected", who("&user=me"), "nothing falls back from a person's own")
	for whose, person := range persons {
		if whose != "&user=me" {
			require.Contains(t, who(whose), person)
		}
	}
	for _, bad := range []string{"&user=", "&account=", "&user=a&user=b"} {
		_, err := c.begin(ctx, created+"?org=acme"+bad)
		require.Error(t, err, bad)
		require.Less(t, statusOf(err), http.StatusInternalServerError, bad)
	}
}
