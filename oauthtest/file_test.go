package oauthtest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// A restarted provider goes on where the last one stopped.
func TestStateSurvives(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	config := oauthtest.Config{StateFile: file}
	var a *app
	restart := func() *oauthtest.Provider {
		p := newProvider(t, config)
		a = inProcess(t, p)
		return p
	}
	restart()
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	code := a.code("zoe") // a new account
	signIn := a.open(http.MethodGet, a.authorizationURL(), nil)
	restart()
	first := a.redeem(code)
	require.Equal(t, http.StatusOK, first.Status)
	base, _, _ := strings.Cut(a.urls.AuthorizationURL, "authorize")
	require.Equal(t, http.StatusOK, a.open(http.MethodPost, base+"signin", hidden(signIn.Body)).Status, "a page that was open goes on")

	p := restart()
	require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, first.str("access_token")).Status)
	names, _ := a.allUsers(a.urls.UsersURL, first.str("access_token"))
	require.Contains(t, names, "zoe")
	require.Len(t, p.Families(), 1)
	second := a.refresh(first.str("refresh_token"))
	require.Equal(t, http.StatusOK, second.Status)

	require.NoError(t, p.ExpireAll())
	p = restart()
	require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, second.str("access_token")).Status, "expired stays expired")
	a.requireError(a.refresh(first.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
	require.Equal(t, "reuse", p.Families()[0].Revoked, "a token used before the restart is a reuse after it")
	p = restart()
	a.requireError(a.refresh(second.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
	a.requireError(a.redeem(code), http.StatusBadRequest, "invalid_grant")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, secret := range append(p.Secrets(), code, first.str("refresh_token"), second.str("access_token")) {
		require.NotContains(t, string(text), secret)
	}
}

func TestStateFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for _, test := range []struct{ path, want string }{
		{write("damaged", "{"), "is damaged"},
		{write("empty", ""), "is damaged"},
		{write("newer", `{"Version":99}`), "has version 99, this program reads 1"},
		{write("keyless", `{"Version":1}`), "has version 1"},
		{filepath.Join(dir, "missing", "state"), "saving the state"},
		{dir, "reading the state file"},
	} {
		_, err := oauthtest.New(oauthtest.Config{StateFile: test.path})
		require.ErrorContains(t, err, test.want)
		require.ErrorContains(t, err, test.path)
	}
}

// What cannot be saved has not happened.
func TestFailingSaves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	p := newProvider(t, oauthtest.Config{StateFile: filepath.Join(dir, "state.json")})
	a := inProcess(t, p)
	token, code := a.connect("alice").str("refresh_token"), a.code("alice")

	away := dir + ".away"
	require.NoError(t, os.Rename(dir, away))
	a.requireError(a.refresh(token), http.StatusInternalServerError, "server_error")
	a.requireError(a.redeem(code), http.StatusInternalServerError, "server_error")
	r, err := a.post(t.Context(), a.urls.RevocationURL, "token", token)
	require.NoError(t, err)
	a.requireError(r, http.StatusServiceUnavailable, "temporarily_unavailable")
	require.Error(t, p.ExpireAll())
	_, err = p.Revoke("alice")
	require.Error(t, err)
	location, err := a.browser("alice").Walk(t.Context(), a.authorizationURL())
	require.NoError(t, err)
	require.Contains(t, location, "error=server_error")

	require.NoError(t, os.Rename(away, dir))
	require.Equal(t, http.StatusOK, a.refresh(token).Status)
	require.Equal(t, http.StatusOK, a.redeem(code).Status)
	require.Len(t, p.Families(), 2)
}

func TestNewRefusesContradictions(t *testing.T) {
	for _, test := range []struct {
		config oauthtest.Config
		want   string
	}{
		{oauthtest.Config{URL: "login.example"}, "Config.URL"},
		{oauthtest.Config{APIURL: "https://graph.example/v1.0"}, "Config.APIURL"},
		{oauthtest.Config{AccessLifetime: 10}, "AccessLifetime"},
		{oauthtest.Config{Grace: -1}, "negative"},
		{oauthtest.Config{Rotation: "sometimes"}, "Rotation"},
		{oauthtest.Config{IDToken: "RS256"}, "IDToken"},
		{oauthtest.Config{Tenants: []oauthtest.Tenant{{ID: "common"}}}, "Tenants[0]"},
		{oauthtest.Config{Tenants: []oauthtest.Tenant{{ID: "a/b"}}}, "Tenants[0]"},
		{oauthtest.Config{Tenants: []oauthtest.Tenant{{ID: "a"}, {ID: "A"}}}, "Tenants[1]"},
		{oauthtest.Config{Tenants: []oauthtest.Tenant{{ID: "a", Users: []oauthtest.User{{Username: "x@y"}}}}}, "Users[0]"},
		{oauthtest.Config{Tenants: []oauthtest.Tenant{{ID: "a", Users: []oauthtest.User{{Username: "x"}, {Username: "X"}}}}}, "Users[1]"},
		{oauthtest.Config{Clients: []oauthtest.Client{{}}}, "Clients[0]"},
		{oauthtest.Config{Clients: []oauthtest.Client{{ID: "a"}, {ID: "a"}}}, "Clients[1]"},
		{oauthtest.Config{Clients: []oauthtest.Client{{ID: "a", Auth: "mtls"}}}, "Auth"},
		{oauthtest.Config{Clients: []oauthtest.Client{{ID: "a", Secret: "s", Auth: oauthtest.AuthNone}}}, "exclude"},
		{oauthtest.Config{Clients: []oauthtest.Client{{ID: "a", Auth: oauthtest.AuthBasic}}}, "needs a Secret"},
	} {
		_, err := oauthtest.New(test.config)
		require.ErrorContains(t, err, test.want)
	}
}
