package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// environment makes a getenv of pairs, with a data directory of the test's own.
func environment(t *testing.T, pairs ...string) func(string) string {
	t.Helper()
	env := map[string]string{"XDG_DATA_HOME": t.TempDir(), "HOME": t.TempDir(), "LocalAppData": t.TempDir()}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return env[name] }
}

func TestDefaults(t *testing.T) {
	getenv := environment(t)
	s, err := readSettings(getenv)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8080", s.addr)
	require.Equal(t, "http://localhost:8080", s.baseURL)
	require.Equal(t, "http://localhost:8080/oauth/callback/Microsoft_Graph", s.redirectURI())
	require.Equal(t, "bifrost.db", filepath.Base(s.database))
	require.DirExists(t, filepath.Dir(s.database))
	require.Equal(t, []string{"acme", "globex"}, s.orgs)
	require.Equal(t, []string{"offline_access", "Directory.Read.All"}, s.client.Scopes)
	require.Equal(t, "common", s.entityID)
	require.True(t, s.standIn)
}

func TestRealProvider(t *testing.T) {
	s, err := readSettings(environment(t, "OAUTH_CLIENT_ID", "id", "OAUTH_CLIENT_SECRET", "secret"))
	require.NoError(t, err)
	require.False(t, s.standIn)
	require.Equal(t, "https://login.microsoftonline.com/{entity_id}/oauth2/v2.0/authorize", s.client.AuthorizationURL)
	require.Equal(t, "https://login.microsoftonline.com/{entity_id}/oauth2/v2.0/token", s.client.TokenURL)
	require.Equal(t, oauthflow.AuthPost, s.client.ClientAuth)
	require.Equal(t, "secret", s.client.ClientSecret.Reveal())
	require.Equal(t, "graph.microsoft.com", s.apiHost())
	require.False(t, s.client.RequireIss)

	s, err = readSettings(environment(t,
		"OAUTH_CLIENT_ID", "id", "OAUTH_CLIENT_AUTH", "none", "OAUTH_ISSUER", "http://127.0.0.1:9000",
		"OAUTH_AUTHORIZATION_URL", "http://127.0.0.1:9000/auth", "OAUTH_TOKEN_URL", "http://127.0.0.1:9000/token",
		"OAUTH_REVOCATION_URL", "http://127.0.0.1:9000/revoke", "OAUTH_SCOPES", "openid  offline_access",
		"OAUTH_AUTHORIZATION_PARAMS", "prompt=consent&audience=a%20b", "OAUTH_ENTITY_ID", "t1", "API_URL", "http://127.0.0.1:9001/users?x=1",
		"ADDR", "[::1]:9090", "ORGS", "a, b,c"))
	require.NoError(t, err)
	require.Equal(t, oauthflow.AuthNone, s.client.ClientAuth)
	require.True(t, s.client.RequireIss)
	require.Equal(t, []string{"openid", "offline_access"}, s.client.Scopes)
	require.Equal(t, "a b", s.client.AuthorizationParams.Get("audience"))
	require.Equal(t, "http://127.0.0.1:9000/revoke", s.client.RevocationURL)
	require.Equal(t, "127.0.0.1:9001", s.apiHost())
	require.Equal(t, "http://[::1]:9090", s.baseURL)
	require.Equal(t, []string{"a", "b", "c"}, s.orgs)
}

func TestClientCredentials(t *testing.T) {
	s, err := readSettings(environment(t, "OAUTH_FLOW", "client_credentials"))
	require.NoError(t, err)
	require.Equal(t, oauthflow.ClientCredentials, s.client.Flow)
	require.Equal(t, []string{"https://graph.microsoft.com/.default"}, s.client.Scopes)
	require.Equal(t, "acme", s.entityID, "one of the stand-in's tenants")

	s, err = readSettings(environment(t, "OAUTH_FLOW", "client_credentials",
		"OAUTH_CLIENT_ID", "id", "OAUTH_CLIENT_SECRET", "secret", "OAUTH_ENTITY_ID", "t1"))
	require.NoError(t, err)
	require.Empty(t, s.client.AuthorizationURL)
	require.Equal(t, "https://login.microsoftonline.com/{entity_id}/oauth2/v2.0/token", s.client.TokenURL)
	require.Equal(t, "t1", s.entityID)

	s, err = readSettings(environment(t, "OAUTH_FLOW", "client_credentials", "OAUTH_CLIENT_ID", "id", "OAUTH_CLIENT_SECRET", "secret",
		"OAUTH_CLIENT_AUTH", "basic", "OAUTH_TOKEN_URL", "http://127.0.0.1:9000/token", "OAUTH_SCOPES", "a b"))
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:9000/token", s.client.TokenURL)
	require.Equal(t, []string{"a", "b"}, s.client.Scopes)
}

func TestEgress(t *testing.T) {
	s, err := readSettings(environment(t))
	require.NoError(t, err)
	require.Empty(t, s.egress)

	s, err = readSettings(environment(t, "EGRESS", "10.0.0.0/8, idp.corp.example:8443,[::1]:9000"))
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.0/8", "idp.corp.example:8443", "[::1]:9000"}, s.egress)
	s.useStandIn(&standIn{place: place{Address: "127.0.0.1:23456"}})
	require.Contains(t, s.egress, "127.0.0.1:23456", "integrations made at run time may use the stand-in")
}

func TestBaseURL(t *testing.T) {
	for _, test := range []struct{ addr, base, password, want string }{
		{"127.0.0.1:1", "", "", "http://localhost:1"},
		{"localhost:1", "", "", "http://localhost:1"},
		{"127.0.0.2:1", "", "", "http://127.0.0.2:1"},
		{":1", "", "pw", "http://localhost:1"},
		{"0.0.0.0:1", "", "pw", "http://localhost:1"},
		{"[::]:1", "", "pw", "http://localhost:1"},
		{"10.0.0.1:1", "https://app.example.com/bifrost/", "pw", "https://app.example.com/bifrost"},
		{"127.0.0.1:1", "http://127.0.0.1:1", "", "http://127.0.0.1:1"},
		{"127.0.0.1:0", "http://localhost:1", "", "http://localhost:1"},
	} {
		s, err := readSettings(environment(t, "ADDR", test.addr, "BASE_URL", test.base, "QUICKSTART_PASSWORD", test.password))
		require.NoError(t, err, test.addr)
		require.Equal(t, test.want, s.baseURL)
	}
}

// Every wrong setting is named, and what to do about it.
func TestRefusedSettings(t *testing.T) {
	proper := []string{"OAUTH_CLIENT_ID", "id", "OAUTH_CLIENT_SECRET", "s3cr3t"}
	dir := t.TempDir()
	for _, test := range []struct {
		env  []string
		want []string
	}{
		{[]string{"ADDR", "0.0.0.0:8080"}, []string{"ADDR", "QUICKSTART_PASSWORD"}},
		{[]string{"ADDR", ":8080"}, []string{"ADDR", "QUICKSTART_PASSWORD"}},
		{[]string{"ADDR", "myhost:8080"}, []string{"ADDR", "QUICKSTART_PASSWORD"}},
		{[]string{"ADDR", "8080"}, []string{"ADDR", "host:port"}},
		{[]string{"ADDR", "127.0.0.1:0"}, []string{"ADDR", "choose a port"}},
		{[]string{"ADDR", "10.0.0.1:80", "QUICKSTART_PASSWORD", "pw"}, []string{"BASE_URL", "not set"}},
		{[]string{"BASE_URL", "http://app.example.com"}, []string{"BASE_URL", "https"}},
		{[]string{"BASE_URL", "localhost:8080"}, []string{"BASE_URL", "absolute"}},
		{[]string{"BASE_URL", "https://u:p@app.example.com"}, []string{"BASE_URL", "user"}},
		{[]string{"BASE_URL", "https://app.example.com/?x"}, []string{"BASE_URL", "query"}},
		{[]string{"DATABASE", "postgres://u:s3cr3t@/"}, []string{"DATABASE", "postgres://user"}},
		{[]string{"DATABASE", "postgres://u:p@db/x", "DATABASE_LISTEN", "u:s3cr3t@db"}, []string{"DATABASE_LISTEN", "postgres://user"}},
		{[]string{"DATABASE_LISTEN", "postgres://u:s3cr3t@db/x"}, []string{"DATABASE_LISTEN", "DATABASE is a file"}},
		{[]string{"DATABASE", "mysql://u:s3cr3t@db/x"}, []string{"DATABASE", "unknown kind"}},
		{[]string{"DATABASE", dir}, []string{"DATABASE", "is a directory"}},
		{[]string{"DATABASE", filepath.Join(dir, "none", "x.db")}, []string{"DATABASE", "no directory"}},
		{[]string{"ORGS", "acme,"}, []string{"ORGS", `""`}},
		{[]string{"ORGS", "acme,.."}, []string{"ORGS", `".."`}},
		{[]string{"ORGS", "a b"}, []string{"ORGS", `"a b"`}},
		{[]string{"ORGS", "a,a"}, []string{"ORGS", "twice"}},
		{[]string{"EGRESS", "https://idp.example"}, []string{"EGRESS", "https://idp.example", "not a URL"}},
		{[]string{"EGRESS", "10.0.0.0/8,,10.0.0.1/8"}, []string{"EGRESS", `entry ""`, "10.0.0.1/32"}},
		{[]string{"OAUTH_FLOW", "implicit"}, []string{"OAUTH_FLOW", "authorization_code or client_credentials"}},
		{[]string{"OAUTH_FLOW", "client_credentials", "OAUTH_CLIENT_AUTH", "none"}, []string{"OAUTH_CLIENT_AUTH", "post or basic"}},
		{append([]string{"OAUTH_FLOW", "client_credentials", "OAUTH_AUTHORIZATION_URL", "https://x.example/a"}, proper...), []string{"OAUTH_TOKEN_URL", "not set"}},
		{[]string{"OAUTH_CLIENT_AUTH", "private_key_jwt"}, []string{"OAUTH_CLIENT_AUTH", "not built yet"}},
		{[]string{"OAUTH_CLIENT_KEY", "key.pem"}, []string{"OAUTH_CLIENT_KEY", "not built yet"}},
		{append([]string{"OAUTH_CLIENT_AUTH", "magic"}, proper...), []string{"OAUTH_CLIENT_AUTH", "post, basic or none"}},
		{append([]string{"OAUTH_CLIENT_AUTH", "none"}, proper...), []string{"OAUTH_CLIENT_SECRET", "unset one"}},
		{[]string{"OAUTH_CLIENT_ID", "id"}, []string{"OAUTH_CLIENT_SECRET", "not set"}},
		{[]string{"OAUTH_CLIENT_SECRET", "s3cr3t"}, []string{"OAUTH_CLIENT_SECRET", "OAUTH_CLIENT_ID is not"}},
		{[]string{"OAUTH_TOKEN_URL", "https://x.example/t"}, []string{"OAUTH_TOKEN_URL", "stand-in"}},
		{[]string{"API_URL", "https://x.example/t"}, []string{"API_URL", "stand-in"}},
		{append([]string{"OAUTH_TOKEN_URL", "https://x.example/t"}, proper...), []string{"OAUTH_AUTHORIZATION_URL", "set both"}},
		{append([]string{"OAUTH_TOKEN_URL", "http://x.example/t", "OAUTH_AUTHORIZATION_URL", "https://x.example/a"}, proper...), []string{"OAUTH_TOKEN_URL", "http"}},
		{append([]string{"OAUTH_TOKEN_URL", "https://x.example/{what}", "OAUTH_AUTHORIZATION_URL", "https://x.example/a"}, proper...), []string{"OAUTH_TOKEN_URL", "what"}},
		{append([]string{"OAUTH_AUTHORIZATION_PARAMS", "a=%zz"}, proper...), []string{"OAUTH_AUTHORIZATION_PARAMS", "query string"}},
		{append([]string{"OAUTH_AUTHORIZATION_PARAMS", "=x"}, proper...), []string{"OAUTH_AUTHORIZATION_PARAMS", "query string"}},
		{append([]string{"OAUTH_AUTHORIZATION_PARAMS", "state=x"}, proper...), []string{"OAUTH_AUTHORIZATION_PARAMS", "state"}},
		{append([]string{"OAUTH_ENTITY_ID", "a/b"}, proper...), []string{"OAUTH_ENTITY_ID"}},
		{append([]string{"API_URL", "graph"}, proper...), []string{"API_URL", "absolute"}},
		{append([]string{"API_URL", "http://x.example/"}, proper...), []string{"API_URL", "https"}},
		{[]string{"ADDR", "x", "ORGS", "/", "OAUTH_FLOW", "y"}, []string{"ADDR", "ORGS", "OAUTH_FLOW"}}, // all of them
	} {
		_, err := readSettings(environment(t, test.env...))
		require.Error(t, err, test.env)
		for _, want := range test.want {
			require.ErrorContains(t, err, want)
		}
		require.NotContains(t, err.Error(), "s3cr3t")
	}
}

func TestDataDirectory(t *testing.T) {
	for _, test := range []struct {
		goos string
		env  map[string]string
		want string
	}{
		{"linux", map[string]string{"XDG_DATA_HOME": "/data", "HOME": "/h"}, "/data"},
		{"linux", map[string]string{"XDG_DATA_HOME": "relative", "HOME": "/h"}, "/h/.local/share"},
		{"linux", map[string]string{"HOME": "/h"}, "/h/.local/share"},
		{"darwin", map[string]string{"XDG_DATA_HOME": "/data", "HOME": "/h"}, "/h/Library/Application Support"},
		{"windows", map[string]string{"LocalAppData": `C:\Data`}, `C:\Data`},
	} {
		dir, err := userData(test.goos, func(name string) string { return test.env[name] })
		require.NoError(t, err)
		require.Equal(t, test.want, dir)
	}
	_, err := userData("windows", func(string) string { return "" })
	require.ErrorContains(t, err, "%LocalAppData%")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = readSettings(environment(t, "XDG_DATA_HOME", file, "HOME", file, "LocalAppData", file))
	require.ErrorContains(t, err, "set DATABASE to a file")
}

// A database elsewhere has its key and its stand-in in the data directory, and its
// password nowhere.
func TestPostgresSettings(t *testing.T) {
	dir := t.TempDir()
	get := func(database string) *settings {
		s, err := readSettings(func(name string) string {
			return map[string]string{"DATABASE": database, "XDG_DATA_HOME": dir, "HOME": dir, "LocalAppData": dir}[name]
		})
		require.NoError(t, err)
		return s
	}
	one, other := get("postgres://u:s3cr3t@db:5432/one"), get("postgresql://u:s3cr3t@db:5432/other")
	require.NotEqual(t, one.keyFile(), other.keyFile())
	require.Equal(t, one.keyFile(), get("postgres://another:password@db:5432/one").keyFile())
	require.True(t, strings.HasPrefix(one.keyFile(), dir))
	require.Equal(t, "PostgreSQL, one at db:5432", one.databaseName())
	require.NotContains(t, one.keyFile()+one.databaseName(), "s3cr3t")
}
