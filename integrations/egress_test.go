package integrations_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
)

// Run-time definitions reach public addresses only; what is literally another one
// is refused when it is saved.
func TestCreateRefusesPrivateAddresses(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{
		"127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "169.254.169.254", "[::1]", "[fd00::1]", "2130706433",
		"0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "metadata.internal", "printer.local", "intranet", "100.64.0.1",
	} {
		for field, change := range map[string]func(d *integrations.Definition){
			"oauth.token_url":         func(d *integrations.Definition) { d.OAuth.TokenURL = "https://" + host + "/token" },
			"oauth.refresh_url":       func(d *integrations.Definition) { d.OAuth.RefreshURL = "https://" + host + "/token" },
			"oauth.revocation_url":    func(d *integrations.Definition) { d.OAuth.RevocationURL = "https://" + host + "/revoke" },
			"oauth.authorization_url": func(d *integrations.Definition) { d.OAuth.AuthorizationURL = "https://" + host + "/authorize" },
			"api_hosts[0]":            func(d *integrations.Definition) { d.APIHosts = []string{host} },
		} {
			d := definition("Graph")
			change(&d)
			_, err := w.Create(t.Context(), d, "root")
			var invalid *integrations.InvalidError
			require.ErrorAs(t, err, &invalid, "%s %s", field, host)
			require.Equal(t, field, invalid.Fields[0].Field, host)
		}
	}
	_, err := w.Create(t.Context(), definition("Graph"), "root")
	require.NoError(t, err)
}

// A provider and an API on loopback, of which the tests say whether they may be
// reached.
func TestRunTimeDefinitionsAreDialledCarefully(t *testing.T) {
	var asked, told atomic.Int64
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token": "at", "token_type": "Bearer", "expires_in": 3600}`))
	}))
	defer idp.Close()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer at" {
			told.Add(1)
		}
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}))
	defer api.Close()
	d := credentials("Graph")
	d.OAuth.TokenURL = idp.URL + "/token"
	u, err := url.Parse(api.URL)
	require.NoError(t, err)
	d.APIHosts, d.TestURL = []string{u.Host}, api.URL+"/me"
	open := func(entries ...string) func(*integrations.Config) {
		return func(c *integrations.Config) { c.Transport, c.APITransport, c.Egress = nil, nil, entries }
	}

	t.Run("refused when saved", func(t *testing.T) {
		_, err := newWorld(t, open()).Create(t.Context(), d, "root")
		var invalid *integrations.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Contains(t, err.Error(), "Config.Egress")
	})
	t.Run("opened it works", func(t *testing.T) {
		w := newWorld(t, open("127.0.0.1"))
		w.create(t, d)
		result, err := w.Test(t.Context(), "Graph", integrations.Global())
		require.NoError(t, err)
		require.True(t, result.OK)
		require.Equal(t, http.StatusOK, result.HTTPStatus)
		require.EqualValues(t, 1, told.Load())
	})
	t.Run("closed again it is refused when dialled", func(t *testing.T) {
		before := asked.Load()
		w := newWorld(t, open("127.0.0.1"))
		w.create(t, d)
		closed := newWorld(t, open(), func(c *integrations.Config) { c.Tokens, c.Definitions, c.Sealer = w.store, w.definitions, w.sealer })
		_, err := closed.Registry.Get(t.Context(), "Graph", integrations.Global())
		require.ErrorIs(t, err, integrations.ErrUnavailable)
		require.Equal(t, before, asked.Load())
	})
	t.Run("a redirect leads nowhere else", func(t *testing.T) {
		w := newWorld(t, open(u.Host, strings.TrimPrefix(idp.URL, "http://")))
		w.create(t, d)
		in, err := w.Registry.Get(t.Context(), "Graph", integrations.Global())
		require.NoError(t, err)
		before := asked.Load()
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		defer other.Close()
		_, err = in.Client().Get(api.URL + "/?to=" + url.QueryEscape(other.URL)) //nolint:bodyclose // there is none
		require.Error(t, err)
		require.Equal(t, before, asked.Load())
	})
	t.Run("code is trusted", func(t *testing.T) {
		w := newWorld(t, open())
		require.NoError(t, w.Define(d))
		result, err := w.Test(t.Context(), "Graph", integrations.Global())
		require.NoError(t, err)
		require.True(t, result.OK)
	})
}

// A host that is a variable is somebody else's choice, in code as well.
func TestHostVariable(t *testing.T) {
	w := newWorld(t, func(c *integrations.Config) { c.Egress = []string{"*.example.com"} })
	d := definition("CRM")
	d.OAuth.Variables = map[string]oauthflow.Variable{"instance": {Kind: oauthflow.Host, AnyHost: true}}
	d.OAuth.AuthorizationURL, d.OAuth.TokenURL = "https://{instance}/common/authorize", "https://{instance}/common/token"
	d.Config = []integrations.ConfigField{{Key: "instance", Type: integrations.ConfigString}}
	require.NoError(t, w.Define(d))
	for _, host := range []string{"169.254.169.254", "localhost", "2130706433", "a.internal", "evil.com/", "[::1]", "evil.com:443", "127.0.0.1:80#"} {
		_, err := w.SetConfig(t.Context(), "CRM", map[string]any{"instance": host}, "root", integrations.Org("acme"))
		var invalid *integrations.InvalidError
		require.ErrorAs(t, err, &invalid, host)
		require.Equal(t, "instance", invalid.Fields[0].Field)
	}
	_, err := w.SetConfig(t.Context(), "CRM", map[string]any{"instance": "crm.example.com"}, "root", integrations.Org("acme"))
	require.NoError(t, err)
	w.connect(t, "CRM", "acme", integrations.Org("acme"))
}

func TestTestIsLimited(t *testing.T) {
	w := newWorld(t, func(c *integrations.Config) {
		c.APITransport = oauthRoundTrip(func(*http.Request) (*http.Response, error) { return reply(503, "down"), nil })
	})
	d := definition("Graph")
	d.TestURL = "https://api.example.com/me"
	require.NoError(t, w.Define(d))
	_, err := w.Test(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	w.connect(t, "Graph", "shared", integrations.Global())
	_, err = w.Test(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotOwn)
	for range 5 {
		result, err := w.Test(t.Context(), "Graph", integrations.Global())
		require.NoError(t, err)
		require.False(t, result.OK)
		require.Equal(t, 503, result.HTTPStatus)
	}
	_, err = w.Test(t.Context(), "Graph", integrations.Global())
	require.ErrorIs(t, err, integrations.ErrBusy)
	var e *integrations.Error
	require.ErrorAs(t, err, &e)
	require.Positive(t, e.RetryAfter)
}

type oauthRoundTrip func(*http.Request) (*http.Response, error)

func (f oauthRoundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
