package demo

import (
	"context"
	"net/url"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Connect connects an account ("alice@acme.example") for a scope without HTTP:
// it is what httpadapter's Connect and Callback do, with a person in between.
func (d *Demo) Connect(ctx context.Context, integration, account string, opts ...integrations.Option) error {
	const person = "admin"
	started, err := d.Bifrost.Integrations.Connect(ctx, integration, integrations.ConnectOptions{Principal: person}, opts...)
	if err != nil {
		return err
	}
	callback, err := d.Provider.Authorize(ctx, started.AuthorizationURL, account)
	if err != nil {
		return err
	}
	u, err := url.Parse(callback)
	if err != nil {
		return err
	}
	status, err := d.Bifrost.Integrations.Status(ctx, integration, opts...)
	if err != nil {
		return err
	}
	_, err = d.Bifrost.Integrations.Callback(ctx, oauthflow.CallbackRequest{
		RawQuery: u.RawQuery, Definition: status.ID, Principal: person, HasPrincipal: true,
		Cookie: func(name string) string {
			if name != started.Cookie.Name {
				return ""
			}
			return started.Cookie.Value
		},
		Allowed: func(tokenstore.Key) bool { return true },
	})
	return err
}
