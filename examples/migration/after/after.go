// Package after is package before on Bifrost: what was the configuration, the two
// handlers and the token source.
package after

import (
	"context"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
)

// Definition is what the oauth2.Config was. RedirectURL is missing: it follows from
// BaseURL, here https://app.example.com/oauth/callback/Microsoft_Graph.
func Definition(c *oauth2.Config, apiHost string) integrations.Definition {
	auth := oauthflow.AuthPost
	if c.Endpoint.AuthStyle == oauth2.AuthStyleInHeader {
		auth = oauthflow.AuthBasic
	}
	return integrations.Definition{
		Name: "Microsoft_Graph", APIHosts: []string{apiHost},
		OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{AuthorizationURL: c.Endpoint.AuthURL, TokenURL: c.Endpoint.TokenURL, ClientAuth: auth},
			ClientID: c.ClientID, ClientSecret: bifrost.Secret(c.ClientSecret), Scopes: c.Scopes,
		},
	}
}

// Routes is what Connect and Callback were. The principal hook is the host's own
// sign-in, as Org was.
func Routes(bf *bifrost.Bifrost, principal func(*http.Request) (httpadapter.Principal, error)) http.Handler {
	h := httpadapter.New(bf, httpadapter.Config{Principal: principal})
	mux := http.NewServeMux()
	mux.Handle("/oauth/", h.API())
	mux.Handle("/api/", h.API())
	return mux
}

// Client is what Client, savingSource, load and save were, and the table.
func Client(ctx context.Context, bf *bifrost.Bifrost, org string) (*http.Client, error) {
	graph, err := bf.Integrations.Get(ctx, "Microsoft_Graph", integrations.Org(org))
	if err != nil {
		return nil, err
	}
	return graph.Client(), nil
}
