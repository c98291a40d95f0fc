package migration_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	_ "modernc.org/sqlite"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/examples/demo"
	"github.com/bifrost-go/bifrost/examples/migration"
	"github.com/bifrost-go/bifrost/examples/migration/after"
	"github.com/bifrost-go/bifrost/examples/migration/before"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// world is a host with both, a provider that rotates, and rows in the old table.
type world struct {
	*migration.Host
	provider *oauthtest.Provider
	ctx      context.Context // with the provider's transport for x/oauth2
}

func newWorld(t *testing.T) *world {
	t.Helper()
	provider, err := oauthtest.New(oauthtest.Config{})
	require.NoError(t, err)
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "app.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.ExecContext(t.Context(), before.Schema)
	require.NoError(t, err)
	client, urls := oauthtest.DefaultClient(), provider.Endpoints().For("common")
	app := &oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret,
		Endpoint:    oauth2.Endpoint{AuthURL: urls.AuthorizationURL, TokenURL: urls.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
		RedirectURL: demo.BaseURL + "/callback", Scopes: []string{"offline_access", "Directory.Read.All"},
	}
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	bf, err := bifrost.New(bifrost.Config{
		BaseURL: demo.BaseURL, Store: bifrost.Memory(), Keys: keys, Logger: slog.New(slog.DiscardHandler),
		Transport: provider.RoundTripper(), APITransport: provider.RoundTripper(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bf.Close()) })
	require.NoError(t, bf.Integrations.Define(after.Definition(app, "graph.oauthtest.example")))
	require.NoError(t, bf.Start(context.WithoutCancel(t.Context())))
	w := &world{
		Host: &migration.Host{Old: &before.App{DB: db, OAuth: app}, Bifrost: bf}, provider: provider,
		ctx: context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: provider.RoundTripper()}),
	}
	for org, account := range map[string]string{"acme": "alice@acme.example", "globex": "ines@globex.example"} {
		w.connectOld(t, org, account)
	}
	return w
}

// connectOld connects an account as the old code did.
func (w *world) connectOld(t *testing.T, org, account string) {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	callback, err := w.provider.Authorize(w.ctx, w.Old.OAuth.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), account)
	require.NoError(t, err)
	u, err := url.Parse(callback)
	require.NoError(t, err)
	token, err := w.Old.OAuth.Exchange(w.ctx, u.Query().Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	_, err = w.Old.DB.ExecContext(w.ctx, `INSERT INTO oauth_tokens (org, access_token, refresh_token, expiry) VALUES ($1, $2, $3, $4)`,
		org, token.AccessToken, token.RefreshToken, token.Expiry.UTC())
	require.NoError(t, err)
}

func (w *world) requireUsers(t *testing.T, org string, want int) {
	t.Helper()
	client, err := w.Client(w.ctx, org)
	require.NoError(t, err)
	names, err := demo.UserNames(w.ctx, client)
	require.NoError(t, err)
	require.Len(t, names, want)
}

// The whole move: nobody connects again, nothing stands still, and no refresh token
// is presented twice.
func TestTheMove(t *testing.T) {
	w := newWorld(t)
	w.requireUsers(t, "acme", 8)
	w.requireUsers(t, "globex", 4)
	d := &demo.Demo{Bifrost: w.Bifrost, Provider: w.provider}
	require.NoError(t, d.Connect(w.ctx, "Microsoft_Graph", "kamala@globex.example", integrations.Org("globex")), "connected anew meanwhile")

	require.NoError(t, w.Freeze(w.ctx))
	w.requireUsers(t, "acme", 8) // with the access token that the table has
	require.Zero(t, w.provider.Counts().Requests["refresh_token"])

	imported, err := w.Import(w.ctx, "admin")
	require.NoError(t, err)
	require.Equal(t, 1, imported)
	imported, err = w.Import(w.ctx, "admin")
	require.NoError(t, err, "it can be run again")
	require.Zero(t, imported)
	status, err := w.Bifrost.Integrations.Status(w.ctx, "Microsoft_Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, tokenstore.Active, status.Status)
	require.Equal(t, "admin", status.ConnectedBy)

	require.NoError(t, w.provider.ExpireAll())
	w.requireUsers(t, "acme", 8)
	w.requireUsers(t, "globex", 4)
	require.Equal(t, 2, w.provider.Counts().Requests["refresh_token"])
	require.Zero(t, w.provider.Counts().Repeated)

	_, err = w.Old.DB.ExecContext(w.ctx, `UPDATE oauth_tokens SET expiry = $1`, time.Now().Add(-time.Hour).UTC())
	require.NoError(t, err)
	_, err = w.Old.Client(w.ctx, "acme")
	require.ErrorIs(t, err, before.ErrFrozen)
	require.Equal(t, 2, w.provider.Counts().Requests["refresh_token"])
}

// Tokens that cannot be imported stop nobody else.
func TestRowsThatCannotBeImported(t *testing.T) {
	w := newWorld(t)
	_, err := w.Old.DB.ExecContext(w.ctx, `UPDATE oauth_tokens SET access_token = '', refresh_token = '' WHERE org = 'acme'`)
	require.NoError(t, err)
	require.NoError(t, w.Freeze(w.ctx))
	imported, err := w.Import(w.ctx, "admin")
	require.ErrorContains(t, err, "acme: ")
	require.Equal(t, 1, imported)
}

// And back: what Export returns goes on with x/oauth2.
func TestLeaving(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Freeze(w.ctx))
	_, err := w.Import(w.ctx, "admin")
	require.NoError(t, err)

	token, err := w.Bifrost.Integrations.Export(w.ctx, "Microsoft_Graph", "admin", integrations.Org("acme"))
	require.NoError(t, err)
	require.NoError(t, w.Bifrost.Integrations.Forget(w.ctx, "Microsoft_Graph", "admin", integrations.Org("acme")))
	_, err = w.Bifrost.Integrations.Get(w.ctx, "Microsoft_Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	token.Expiry = time.Now().Add(-time.Hour)
	renewed, err := w.Old.OAuth.TokenSource(w.ctx, token).Token()
	require.NoError(t, err)
	require.NotEqual(t, token.RefreshToken, renewed.RefreshToken)

	removal, err := w.Bifrost.DeleteOrg(w.ctx, "globex", "admin")
	require.NoError(t, err)
	require.Equal(t, 1, removal.Connections)
	_, err = w.Bifrost.Integrations.Get(w.ctx, "Microsoft_Graph", integrations.Org("globex"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
}
