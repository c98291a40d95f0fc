package before_test

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	_ "modernc.org/sqlite"

	"github.com/bifrost-go/bifrost/examples/demo"
	"github.com/bifrost-go/bifrost/examples/migration/before"
	"github.com/bifrost-go/bifrost/oauthtest"
)

// newApp is the host with one organization, acme, and a provider that rotates.
func newApp(t *testing.T) (*before.App, *oauthtest.Provider, context.Context) {
	t.Helper()
	provider, err := oauthtest.New(oauthtest.Config{})
	require.NoError(t, err)
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "app.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.ExecContext(t.Context(), before.Schema)
	require.NoError(t, err)
	client, urls := oauthtest.DefaultClient(), provider.Endpoints().For("common")
	app := &before.App{
		DB: db, Org: func(*http.Request) string { return "acme" },
		OAuth: &oauth2.Config{
			ClientID: client.ID, ClientSecret: client.Secret,
			Endpoint:    oauth2.Endpoint{AuthURL: urls.AuthorizationURL, TokenURL: urls.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
			RedirectURL: demo.BaseURL + "/callback", Scopes: []string{"offline_access", "Directory.Read.All"},
		},
	}
	return app, provider, context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: provider.RoundTripper()})
}

// connect walks through both handlers with a browser.
func connect(ctx context.Context, t *testing.T, app *before.App, provider *oauthtest.Provider) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	visit := func(handler http.HandlerFunc, target string) (status int, location string) {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
		for _, c := range jar.Cookies(r.URL) {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		handler(w, r)
		jar.SetCookies(r.URL, w.Result().Cookies())
		return w.Code, w.Header().Get("Location")
	}
	_, location := visit(app.Connect, demo.BaseURL+"/connect")
	callback, err := provider.Authorize(ctx, location, "alice@acme.example")
	require.NoError(t, err)
	status, _ := visit(app.Callback, callback)
	require.Equal(t, http.StatusSeeOther, status)
	status, _ = visit(app.Callback, demo.BaseURL+"/callback?code=x&state=y")
	require.Equal(t, http.StatusBadRequest, status)
}

// On a good day it works.
func TestItWorks(t *testing.T) {
	app, provider, ctx := newApp(t)
	connect(ctx, t, app, provider)
	client, err := app.Client(ctx, "acme")
	require.NoError(t, err)
	names, err := demo.UserNames(ctx, client)
	require.NoError(t, err)
	require.Len(t, names, 8)
}

// expire makes the stored access token count as expired.
func expire(t *testing.T, app *before.App) {
	t.Helper()
	_, err := app.DB.ExecContext(t.Context(), `UPDATE oauth_tokens SET expiry = $1`, time.Now().Add(-time.Hour).UTC())
	require.NoError(t, err)
}

// Two requests, or two servers, that find the token expired: both present the
// same refresh token. A provider that watches for that takes the second for a thief
// and revokes everything.
func TestTheRace(t *testing.T) {
	app, provider, ctx := newApp(t)
	connect(ctx, t, app, provider)
	expire(t, app)
	one, err := app.Client(ctx, "acme")
	require.NoError(t, err)
	other, err := app.Client(ctx, "acme")
	require.NoError(t, err)

	_, err = demo.UserNames(ctx, one)
	require.NoError(t, err)
	_, err = demo.UserNames(ctx, other)
	var refused *oauth2.RetrieveError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid_grant", refused.ErrorCode)
	require.Equal(t, 1, provider.Counts().AfterSuccessor)

	again, err := app.Client(ctx, "acme") // with what is in the table now
	require.NoError(t, err)
	_, err = demo.UserNames(ctx, again)
	require.Error(t, err, "the customer has to connect again")
	require.Equal(t, "reuse", provider.Families()[0].Revoked)
}

// The visitor goes away while the provider answers: the request is cancelled, and
// the new refresh token with it.
func TestTheVisitorWhoLeft(t *testing.T) {
	app, provider, ctx := newApp(t)
	connect(ctx, t, app, provider)
	expire(t, app)
	visit, leave := context.WithCancel(ctx)
	client, err := app.Client(visit, "acme")
	require.NoError(t, err)
	provider.Script(oauthtest.Refresh, oauthtest.Do(func(x *oauthtest.Exchange) {
		x.Process() // the old refresh token is spent
		leave()
		x.Hang()
	}))
	_, err = demo.UserNames(visit, client)
	require.Error(t, err)

	client, err = app.Client(ctx, "acme")
	require.NoError(t, err)
	_, err = demo.UserNames(ctx, client)
	require.ErrorContains(t, err, "invalid_grant")
}
