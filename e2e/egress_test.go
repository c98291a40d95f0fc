package e2e_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// forbidden is where nobody who may make an integration can send this server, in
// all the ways of writing it. %s is the port of somebody on this machine.
var forbidden = []string{
	"https://127.0.0.1:%s/", "http://127.0.0.1:%s/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/",
	"https://0x7f.1/", "https://017700000001/", "https://0177.0.0.1/", "https://[::1]:%s/", "https://[::ffff:127.0.0.1]:%s/",
	"https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://0.0.0.0:%s/", "https://[::]:%s/",
	"https://localhost:%s/", "http://localhost:%s/", "https://LOCALHOST/", "https://localhost./", "https://app.localhost/",
	"https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/", "https://[fd00::1]/",
	"https://169.254.1.1/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/",
	"https://169.254.169.254/latest/meta-data/", "https://2852039166/", "https://0xa9fea9fe/", "https://[fd00:ec2::254]/",
	"https://metadata/", "https://metadata.google.internal/", "https://router.lan/",
	"https://user@127.0.0.1:%s/", "http://example.com/", "https://example.com:8443/",
}

// A definition made at run time cannot make this server talk to its own network.
func TestForbiddenDestinations(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := newSite(t)
	c := newClient(s.start(t, s.addr()))
	listener, port := countConnections(t)
	var urls []string
	for _, url := range forbidden {
		urls = append(urls, strings.ReplaceAll(url, "%s", port))
	}

	for _, url := range urls {
		host := strings.TrimPrefix(url, "https://")
		host, _, _ = strings.Cut(host, "/")
		for field, patch := range map[string]object{
			"oauth.token_url":         {"oauth": object{"token_url": url + "token"}},
			"oauth.authorization_url": {"oauth": object{"authorization_url": url + "authorize"}},
			"oauth.refresh_url":       {"oauth": object{"refresh_url": url + "refresh"}},
			"oauth.revocation_url":    {"oauth": object{"revocation_url": url + "revoke"}},
			"test_url":                {"test_url": url, "api_hosts": []string{host}},
		} {
			_, err := c.create(ctx, publicDefinition(patch))
			require.Equal(t, http.StatusUnprocessableEntity, statusOf(err), "%s %s: %v", field, url, err)
			require.Contains(t, fieldsOf(err), field, "%s: %v", url, err)
		}
	}
	_, err := c.look(ctx, created)
	require.Equal(t, http.StatusNotFound, statusOf(err), "nothing was stored: %v", err)

	// What is stored does not become one, by a patch or by a variable.
	_, err = c.create(ctx, publicDefinition(object{
		"config": []object{{"key": "instance", "type": "string"}},
		"oauth": object{
			"token_url": "https://{instance}/token", "authorization_url": "https://{instance}/authorize",
			"variables": object{"instance": object{"kind": "host", "hosts": []string{"*.example.com"}}},
		},
	}))
	require.NoError(t, err)
	urls = append(urls, "https://１２７.0.0.1/")
	for _, url := range urls {
		err := c.change(ctx, created, object{"oauth": object{"token_url": url, "client_secret": "again"}})
		require.Equal(t, http.StatusUnprocessableEntity, statusOf(err), "%s: %v", url, err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "127.0.0.1:" + port, "x.example.com@127.0.0.1", "[::1]", "127.0.0.1/.example.com", "2130706433"} {
		err := c.configure(ctx, created, object{"instance": host})
		require.Equal(t, http.StatusUnprocessableEntity, statusOf(err), "%s: %v", host, err)
		err = c.change(ctx, created, object{"oauth": object{
			"variables": object{"instance": object{"hosts": []string{host}}}, "client_secret": "again",
		}})
		require.Equal(t, http.StatusUnprocessableEntity, statusOf(err), "%s: %v", host, err)
	}
	require.Zero(t, listener.Load(), "connections arrived")
}

// What was allowed when it was saved is checked again when it is dialled; and what
// one may talk to cannot lead on to what one may not.
func TestForbiddenWhenDialled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stand, _ := newOAuthTest(t, oauthtest.Config{})
	var arrived atomic.Int64
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		stand.ServeHTTP(w, r)
	}))
	t.Cleanup(idp.Close)
	listener, port := countConnections(t)
	redirects := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:"+port+"/", http.StatusTemporaryRedirect))
	t.Cleanup(redirects.Close)
	address := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	definition := func(name, tokens, api string) object {
		return object{
			"name": name, "default_entity_id": "acme", "api_hosts": []string{api}, "test_url": "http://" + api + "/v1.0/users",
			"oauth": object{
				"flow": "client_credentials", "client_id": oauthtest.DefaultClient().ID, "client_secret": oauthtest.DefaultClient().Secret,
				"token_url": oauthtest.At("http://" + tokens).TokenURL, "scopes": "https://graph.microsoft.com/.default",
			},
		}
	}

	s := newSite(t, "EGRESS="+address(idp)+", "+address(redirects)+",localhost:"+port)
	a := s.start(t, s.addr())
	c := newClient(a)
	for name, d := range map[string]object{
		"works":              definition("works", address(idp), address(idp)),
		"tokens_redirect":    definition("tokens_redirect", address(redirects), address(idp)),
		"API_redirects":      definition("API_redirects", address(idp), address(redirects)),
		"a_name_is_an_entry": definition("a_name_is_an_entry", "localhost:"+port, "localhost:"+port),
	} {
		_, err := c.create(ctx, d)
		require.NoError(t, err, name)
	}
	require.True(t, c.works(ctx, t, "works"), "opened by EGRESS")
	_, err := c.refresh(ctx, "tokens_redirect")
	require.Error(t, err)
	r, err := c.test(ctx, "API_redirects")
	require.NoError(t, err)
	require.Equal(t, tested{OK: false, HTTPStatus: http.StatusTemporaryRedirect}, r)
	require.Zero(t, listener.Load(), "a redirect was followed")
	_, err = c.refresh(ctx, "a_name_is_an_entry")
	require.Error(t, err, "nobody speaks HTTP there")
	require.NotZero(t, listener.Load(), "opened by EGRESS")

	// The same definitions, after the operator has closed what was open.
	a.stop(t)
	s.env = nil
	c = newClient(s.start(t, s.addr()))
	arrived.Store(0)
	listener.Store(0)
	for _, name := range []string{"works", "tokens_redirect", "API_redirects", "a_name_is_an_entry"} {
		_, err := c.refresh(ctx, name)
		require.Error(t, err, name)
		_, err = c.test(ctx, name)
		require.Error(t, err, name)
	}
	require.Zero(t, arrived.Load()+listener.Load(), "requests arrived")
}

// countConnections listens for connections, which it closes at once.
func countConnections(t *testing.T) (count *atomic.Int64, port string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	count = &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return count, port
}

// publicDefinition leads to public addresses, but for what a patch says.
func publicDefinition(patch object) object {
	oauth := object{
		"client_id": "id", "client_secret": "secret", "scopes": "x",
		"authorization_url": "https://93.184.215.14/authorize", "token_url": "https://93.184.215.14/token",
	}
	d := object{"name": created, "oauth": oauth}
	for name, value := range patch {
		if name != "oauth" {
			d[name] = value
			continue
		}
		for name, value := range value.(object) {
			oauth[name] = value
		}
	}
	return d
}

// fieldsOf are the fields that an error names.
func fieldsOf(err error) []string {
	var p *problem
	if errors.As(err, &p) {
		return p.fields()
	}
	return nil
}
