package oauthflow_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

func TestBuildAuthorizationURL(t *testing.T) {
	request := oauthflow.AuthorizationRequest{EntityID: "common", RedirectURI: "https://app.example.com/cb/x?y=1", State: "s+1/=", Challenge: "c_1"}
	plain := func() url.Values {
		return url.Values{"response_type": {"code"}, "client_id": {"client id:1"}, "redirect_uri": {request.RedirectURI}, "state": {"s+1/="},
			"code_challenge": {"c_1"}, "code_challenge_method": {"S256"}, "scope": {"read write"}}
	}
	tests := map[string]struct {
		client  func(*oauthflow.Client)
		request func(*oauthflow.AuthorizationRequest)
		base    string
		want    func(url.Values)
	}{
		"plain": {base: "https://provider.example/authorize"},
		"entity and query in the URL": {
			client: func(c *oauthflow.Client) {
				c.AuthorizationURL = "https://{entity_id}.example.com/{entity_id}/auth?a=1&a=2"
			},
			base: "https://common.example.com/common/auth",
			want: func(v url.Values) { v["a"] = []string{"1", "2"} },
		},
		"empty query in the URL": {
			client: func(c *oauthflow.Client) { c.AuthorizationURL += "?" },
			base:   "https://provider.example/authorize",
		},
		"extra parameters": {
			client: func(c *oauthflow.Client) {
				c.AuthorizationParams = url.Values{"prompt": {"consent"}, "resource": {"a", "b"}, "response_type": {"code token"}, "state": {"fixed"}}
			},
			base: "https://provider.example/authorize",
			want: func(v url.Values) {
				v["prompt"], v["resource"], v["response_type"] = []string{"consent"}, []string{"a", "b"}, []string{"code token"}
			},
		},
		"no PKCE": {
			client: func(c *oauthflow.Client) { c.DisablePKCE = true },
			base:   "https://provider.example/authorize",
			want:   func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") },
		},
		"comma scopes": {
			client: func(c *oauthflow.Client) { c.ScopeSeparator = "," },
			base:   "https://provider.example/authorize",
			want:   func(v url.Values) { v.Set("scope", "read,write") },
		},
		"no scopes": {
			client: func(c *oauthflow.Client) { c.Scopes = nil },
			base:   "https://provider.example/authorize",
			want:   func(v url.Values) { v.Del("scope") },
		},
		"audience": {
			client: func(c *oauthflow.Client) {
				c.Audience, c.AuthorizationParams = "api", url.Values{"audience": {"fixed"}}
			},
			base: "https://provider.example/authorize",
			want: func(v url.Values) { v.Set("audience", "api") },
		},
		"values": {
			client: func(c *oauthflow.Client) {
				c.AuthorizationURL, c.Variables = "https://{region}.example.com/authorize", kinds("region", oauthflow.Label)
			},
			request: func(r *oauthflow.AuthorizationRequest) { r.Values = map[string]string{"region": "eu"} },
			base:    "https://eu.example.com/authorize",
		},
		"other scopes": {
			request: func(r *oauthflow.AuthorizationRequest) { r.Scopes = []string{"one"} },
			base:    "https://provider.example/authorize",
			want:    func(v url.Values) { v.Set("scope", "one") },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, r, want := wireClient("https://provider.example"), request, plain()
			if tt.client != nil {
				tt.client(c)
			}
			if tt.request != nil {
				tt.request(&r)
			}
			if tt.want != nil {
				tt.want(want)
			}
			got, err := c.BuildAuthorizationURL(r)
			require.NoError(t, err)
			assertClean(t, got)
			u, err := url.Parse(got)
			require.NoError(t, err)
			assert.Equal(t, want, u.Query())
			u.RawQuery = ""
			assert.Equal(t, tt.base, u.String())
		})
	}
}

func TestBuildAuthorizationURLRefuses(t *testing.T) {
	for want, change := range map[string]func(*oauthflow.Client, *oauthflow.AuthorizationRequest){
		"State is empty":       func(_ *oauthflow.Client, r *oauthflow.AuthorizationRequest) { r.State = "" },
		"RedirectURI is empty": func(_ *oauthflow.Client, r *oauthflow.AuthorizationRequest) { r.RedirectURI = "" },
		"Challenge is empty":   func(_ *oauthflow.Client, r *oauthflow.AuthorizationRequest) { r.Challenge = "" },
		"AuthorizationURL contains {entity_id}, but there is no entity id": func(c *oauthflow.Client, r *oauthflow.AuthorizationRequest) {
			c.AuthorizationURL, r.EntityID = "https://example.com/{entity_id}", ""
		},
		"AuthorizationURL cannot take this value of entity_id": func(c *oauthflow.Client, r *oauthflow.AuthorizationRequest) {
			c.AuthorizationURL, r.EntityID = "https://example.com/{entity_id}", ".."
		},
		"AuthorizationURL is empty": func(c *oauthflow.Client, _ *oauthflow.AuthorizationRequest) { c.AuthorizationURL = "" },
	} {
		t.Run(want, func(t *testing.T) {
			c := wireClient("https://provider.example")
			r := oauthflow.AuthorizationRequest{RedirectURI: "https://app.example.com/cb", State: "s", Challenge: "c"}
			change(c, &r)
			got, err := c.BuildAuthorizationURL(r)
			require.ErrorContains(t, err, want)
			assert.Empty(t, got)
		})
	}
}

func TestTokenHost(t *testing.T) {
	for _, tt := range []struct{ token, refresh, want string }{
		{"https://example.com/token", "", "https://example.com/token"},
		{"https://Login.Example.com:443/{entity_id}/token?a=b", "", "https://login.example.com/Tenant/token"},
		{"https://{entity_id}.example.com:8443", "", "https://tenant.example.com:8443/"},
		{"http://127.0.0.1:80/t", "", "http://127.0.0.1/t"},
		{"https://example.com/token", "https://refresh.example.com/{entity_id}", "https://refresh.example.com/Tenant"},
	} {
		c := wireClient("https://provider.example")
		c.TokenURL, c.RefreshURL = tt.token, tt.refresh
		got, err := c.TokenHost("Tenant", nil)
		require.NoError(t, err)
		assert.Equal(t, tt.want, got)
	}
	c := wireClient("https://provider.example")
	c.RefreshURL = "https://example.com/{entity_id}"
	_, err := c.TokenHost("", nil)
	assert.EqualError(t, err, "oauthflow: RefreshURL contains {entity_id}, but there is no entity id: set Definition.DefaultEntityID")
}

func TestIssuerFor(t *testing.T) {
	c := wireClient("https://provider.example")
	got, err := c.IssuerFor("x", nil)
	require.NoError(t, err)
	assert.Empty(t, got)

	c.Issuer = "https://Login.example.com/{entity_id}/v2.0"
	got, err = c.IssuerFor("T", nil)
	require.NoError(t, err)
	assert.Equal(t, "https://Login.example.com/T/v2.0", got, "compared byte by byte, so nothing is normalized")
}
