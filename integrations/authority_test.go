package integrations_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Whoever changes where secrets go must know the secret.
func TestSensitiveChangesNeedTheSecret(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	d.TestURL = "https://api.example.com/me"
	w.create(t, d)
	patch := func(text string) error {
		_, err := w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
			return d.Merge([]byte(text))
		}, integrations.Global())
		return err
	}
	for _, change := range []string{
		`"authorization_url": "https://evil.example.com/authorize"`,
		`"token_url": "https://evil.example.com/token"`,
		`"refresh_url": "https://evil.example.com/token"`,
		`"revocation_url": "https://evil.example.com/revoke"`,
		`"issuer": "https://evil.example.com"`,
		`"client_id": "another"`,
		`"client_auth": "client_secret_basic"`,
		`"variables": {"host": {"kind": "host", "hosts": ["evil.example.com"]}}`,
	} {
		var invalid *integrations.InvalidError
		config := ""
		if change[1] == 'v' {
			config = `, "config": [{"key": "host", "type": "string"}]`
		}
		require.ErrorAs(t, patch(`{"oauth": {`+change+`}`+config+`}`), &invalid, change)
		require.Equal(t, "oauth.client_secret", invalid.Fields[0].Field, change)
		require.NoError(t, patch(`{"oauth": {`+change+`, "client_secret": "new"}`+config+`}`), change)
	}
	for _, change := range []string{`{"api_hosts": ["evil.example.com"], "test_url": null}`, `{"test_url": "https://api.example.com/other"}`} {
		var invalid *integrations.InvalidError
		require.ErrorAs(t, patch(change), &invalid, change)
	}
	for _, change := range []string{`{"description": "x"}`, `{"default_entity_id": "other"}`, `{"oauth": {"scopes": "a b"}}`, `{"no_fallback": true}`} {
		require.NoError(t, patch(change), change)
	}
}

// A session alone does not lead live tokens to another host, whatever the order of
// the requests.
func TestLiveTokensStayWhereTheyBelong(t *testing.T) {
	evil := `{"api_hosts": ["evil.example.com"], "oauth": {"client_secret": %q}}`
	for name, patches := range map[string][]string{
		"made-up secret":    {fmt.Sprintf(evil, "made-up")},
		"replaced before":   {`{"oauth": {"client_secret": "made-up"}}`, fmt.Sprintf(evil, "made-up")},
		"by way of nothing": {`{"oauth": null, "api_hosts": ["evil.example.com"]}`, "whole"},
		"by way of a public client": {
			`{"api_hosts": ["evil.example.com"], "oauth": {"client_auth": "none"}}`,
			`{"oauth": {"client_auth": "client_secret_post", "client_secret": "made-up"}}`,
		},
		"by way of another client": {
			`{"oauth": {"client_id": "other", "client_secret": "made-up"}}`, fmt.Sprintf(evil, "made-up"),
			`{"oauth": {"client_id": "client", "client_secret": "made-up"}}`,
		},
		"refresh token for access token": {`{"oauth": {"response": {"access_token": "refresh_token"}, "client_secret": "made-up"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var hosts []string
			w := newWorld(t, func(c *integrations.Config) {
				c.APITransport = oauthRoundTrip(func(req *http.Request) (*http.Response, error) {
					hosts = append(hosts, req.URL.Host)
					return reply(200, map[string]any{}), nil
				})
			})
			w.create(t, definition("Graph"))
			w.connect(t, "Graph", "acme", integrations.Org("acme"))
			for _, patch := range patches {
				change := func(d *integrations.Definition) error { return d.Merge([]byte(patch)) }
				if patch == "whole" {
					change = func(d *integrations.Definition) error {
						d.OAuth = definition("Graph").OAuth
						d.OAuth.ClientSecret = tokenstore.NewSecret("made-up")
						return nil
					}
				}
				if _, err := w.Update(t.Context(), "Graph", "root", change, integrations.Global()); err != nil {
					var invalid *integrations.InvalidError
					require.ErrorAs(t, err, &invalid)
				}
			}
			in, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
			if err == nil {
				_, err = in.Client().Get("https://evil.example.com/") //nolint:bodyclose // there is none
			}
			require.Error(t, err)
			require.Empty(t, hosts)
		})
	}

	// Who knows the secret may add a host, and nobody has to connect again.
	w := newWorld(t)
	w.create(t, definition("Graph"))
	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	_, err := w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
		return d.Merge([]byte(`{"api_hosts": ["api.example.com", "other.example.com"], "oauth": {"client_secret": "client-secret"}}`))
	}, integrations.Global())
	require.NoError(t, err)
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
}

// A changed client or URL sends nothing for live connections, and says which.
func TestChangesUnderLiveConnections(t *testing.T) {
	for _, test := range []struct{ name, patch, reason string }{
		{"entity", `{"default_entity_id": "other"}`, "entity_changed"},
		{"client id", `{"oauth": {"client_id": "other", "client_secret": "s"}}`, "client_changed"},
		{"token URL", `{"oauth": {"token_url": "https://other.example.com/{entity_id}/token", "client_secret": "client-secret"}}`, "definition_changed"},
		{"authorization URL", `{"oauth": {"authorization_url": "https://other.example.com/{entity_id}/a", "client_secret": "client-secret"}}`, "definition_changed"},
		{"issuer", `{"oauth": {"issuer": "https://login.example.com", "client_secret": "client-secret"}}`, "definition_changed"},
		{"client authentication", `{"oauth": {"client_auth": "client_secret_basic", "client_secret": "client-secret"}}`, "definition_changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.create(t, definition("Graph"))
			w.connect(t, "Graph", "acme", integrations.Org("acme"))
			before := w.idp.count()
			old, err := w.Definition(t.Context(), "Graph", integrations.Global())
			require.NoError(t, err)
			st, err := w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
				return d.Merge([]byte(test.patch))
			}, integrations.Global())
			require.NoError(t, err)
			require.Equal(t, tokenstore.NotConnected, st.Status, "the global scope has no connection")

			// Shown at once, before anybody has asked for a token.
			st, err = w.Status(t.Context(), "Graph", integrations.Org("acme"))
			require.NoError(t, err)
			require.Equal(t, tokenstore.ReauthRequired, st.Status)
			require.Contains(t, st.StatusMessage, test.reason)

			for range 2 {
				_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
				require.ErrorIs(t, err, integrations.ErrReauthRequired)
				var e *integrations.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, test.reason, e.Reason)
			}
			_, err = w.Refresh(t.Context(), "Graph", integrations.Org("acme"))
			require.ErrorIs(t, err, integrations.ErrReauthRequired)
			require.Equal(t, before, w.idp.count(), "something was sent")

			// Taken back, everything is as before.
			_, err = w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
				*d = old
				d.OAuth.ClientSecret = tokenstore.NewSecret("client-secret")
				return nil
			}, integrations.Global())
			require.NoError(t, err)
			st, err = w.Status(t.Context(), "Graph", integrations.Org("acme"))
			require.NoError(t, err)
			require.Equal(t, tokenstore.Active, st.Status)
			_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
			require.NoError(t, err)
		})
	}
}
