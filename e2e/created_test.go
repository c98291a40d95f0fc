package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a host defines in code can be made over HTTP just as well: a definition of
// the certified provider is created, connected, used, renewed, disconnected and
// deleted by requests alone.
func TestCreatedOverHTTP(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{"post", "basic"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			s := newSite(t, "EGRESS=127.0.0.0/8")
			p := startProvider(t, s.base, "made at run+time/with&signs", auth)
			c := newClient(s.start(t, s.addr()))

			made, err := c.create(ctx, p.definition())
			require.NoError(t, err)
			require.Equal(t, "stored", made.Source)
			require.Equal(t, "not_connected", made.Status)
			require.Equal(t, s.base+"/oauth/callback/"+created, made.RedirectURI)
			_, err = c.create(ctx, p.definition())
			require.Equal(t, http.StatusConflict, statusOf(err), err)

			require.NoError(t, c.connect(ctx, created))
			st, err := c.look(ctx, created)
			require.NoError(t, err)
			require.Equal(t, "active", st.Status)
			require.Contains(t, st.Scopes.Granted, "offline_access")
			require.True(t, c.works(ctx, t, created))

			require.Empty(t, parallel(20, func(int) error {
				_, err := c.refresh(ctx, created)
				return err
			}))
			j := p.journal(t)
			require.Zero(t, j.Reused, "refresh tokens presented twice:\n%s", j)
			require.NotZero(t, j.refreshes())
			require.True(t, c.works(ctx, t, created))

			// What the provider gave last is worth nothing afterwards.
			st, err = c.disconnect(ctx, created)
			require.NoError(t, err)
			require.Equal(t, "pending", st.Revocation)
			require.Equal(t, "not_connected", st.Status)
			p.revoked(t, 2)
			require.False(t, p.renews(ctx, t), "the refresh token is alive after a disconnect")

			require.NoError(t, c.connect(ctx, created))
			gone, err := c.remove(ctx, created)
			require.NoError(t, err)
			require.Equal(t, removed{Connections: 1, Pending: 1}, gone)
			p.revoked(t, 4)
			require.False(t, p.renews(ctx, t), "the refresh token is alive after its definition was deleted")
			_, err = c.look(ctx, created)
			require.Equal(t, http.StatusNotFound, statusOf(err), err)
			_, err = c.begin(ctx, created)
			require.Equal(t, http.StatusNotFound, statusOf(err), err)

			again, err := c.create(ctx, p.definition())
			require.NoError(t, err)
			require.NotEqual(t, made.ID, again.ID)
			require.Equal(t, "not_connected", again.Status, "nothing old attaches to a new definition")
		})
	}
}

// definition is what to send to POST /api/integrations for this provider.
func (p *provider) definition() object {
	api, _ := url.Parse(p.APIURL) // it is the provider's own
	return object{
		"name": created, "description": "Made over HTTP",
		"api_hosts": []string{api.Host}, "test_url": p.APIURL,
		"oauth": object{
			"client_id": p.ClientID, "client_secret": p.secret, "client_auth": p.auth,
			"authorization_url": p.AuthorizationURL, "token_url": p.TokenURL, "revocation_url": p.RevocationURL,
			"issuer": p.Issuer, "require_iss": true,
			"scopes": "openid offline_access", "authorization_params": object{"prompt": "consent"},
		},
	}
}

// renews presents the refresh token that the provider issued last.
func (p *provider) renews(ctx context.Context, t *testing.T) bool {
	t.Helper()
	token := ""
	for _, issued := range p.journal(t).Issued {
		if issued.Kind == "refresh_token" {
			token = issued.Value
		}
	}
	require.NotEmpty(t, token)
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	if p.auth == "post" {
		form.Set("client_id", p.ClientID)
		form.Set("client_secret", p.secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.TokenURL, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.auth == "basic" {
		req.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.secret))
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.NotEqual(t, http.StatusUnauthorized, res.StatusCode, "the test's own credentials are wrong")
	return res.StatusCode == http.StatusOK
}

// works reports whether the API accepts the connection's token.
func (c *client) works(ctx context.Context, t *testing.T, what string) bool {
	t.Helper()
	r, err := c.test(ctx, what)
	require.NoError(t, err)
	require.Equal(t, r.HTTPStatus == http.StatusOK, r.OK)
	return r.OK
}
