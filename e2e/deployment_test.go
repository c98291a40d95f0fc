package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// deployment is what processes that embed Bifrost have in common: a program on one
// database. It is sent to workers.
type deployment struct {
	Database string // a path, or the URL of a PostgreSQL
	Keys     string
	Provider string // origin of an oauthtest.Provider
	// KeepAlive is bifrost.Config's.
	KeepAlive time.Duration
}

// theIntegration is the one it has.
const theIntegration = "Graph"

// open opens the database, and Bifrost on it, not started; tracer may be nil.
// closing closes both.
func (d deployment) open(ctx context.Context, tracer oauthflow.Tracer) (bf *bifrost.Bifrost, db database, closing func() error, err error) {
	if db, err = openDatabase(ctx, d.Database); err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	keys, err := tokenstore.ParseKeyring(d.Keys)
	if err != nil {
		return nil, nil, nil, err
	}
	bf, err = bifrost.New(bifrost.Config{
		BaseURL: "http://localhost:8080", Store: db, Keys: keys, Tracer: tracer, KeepAlive: d.KeepAlive,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, nil, nil, err
	}
	e, client := oauthtest.At(d.Provider), oauthtest.DefaultClient()
	err = bf.Integrations.Define(integrations.Definition{
		Name: theIntegration, DefaultEntityID: "acme", APIHosts: []string{strings.TrimPrefix(d.Provider, "http://")},
		OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{AuthorizationURL: e.AuthorizationURL, TokenURL: e.TokenURL, RevocationURL: e.RevocationURL},
			ClientID: client.ID, ClientSecret: bifrost.Secret(client.Secret), Scopes: []string{"offline_access", "User.Read.All"},
		},
	})
	if err != nil {
		return nil, nil, nil, errors.Join(err, bf.Close())
	}
	return bf, db, func() error { return errors.Join(bf.Close(), db.Close()) }, nil
}

// connect connects an account for an organization, as its administrator would in a
// browser.
func connect(ctx context.Context, bf *bifrost.Bifrost, p *oauthtest.Provider, org, user string) error {
	began, err := bf.Integrations.Connect(ctx, theIntegration, integrations.ConnectOptions{Principal: "admin", ReturnTo: "/"}, integrations.Org(org))
	if err != nil {
		return err
	}
	callback, err := p.Authorize(ctx, began.AuthorizationURL, user)
	if err != nil {
		return err
	}
	u, err := url.Parse(callback)
	if err != nil {
		return err
	}
	definition := integrations.Definition{Name: theIntegration}
	_, err = bf.Integrations.Callback(ctx, oauthflow.CallbackRequest{
		RawQuery: u.RawQuery, Definition: definition.ID(), Principal: "admin", HasPrincipal: true,
		Cookie: func(name string) string {
			if name != began.Cookie.Name {
				return ""
			}
			return began.Cookie.Value
		},
		Allowed: func(tokenstore.Key) bool { return true },
	})
	return err
}
