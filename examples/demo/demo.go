package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// BaseURL is where the examples' hosts would answer.
const BaseURL = "http://localhost:8080"

// Demo is a Bifrost and a provider beside it.
type Demo struct {
	Bifrost  *bifrost.Bifrost
	Provider *oauthtest.Provider
}

// New returns a started Bifrost on a store that forgets, with the integration
// [Graph] defined. Close it.
func New(change ...func(*bifrost.Config)) (*Demo, error) {
	provider, err := oauthtest.New(oauthtest.Config{})
	if err != nil {
		return nil, err
	}
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		return nil, err
	}
	cfg := bifrost.Config{
		BaseURL: BaseURL, Store: bifrost.Memory(), Keys: keys, Logger: slog.New(slog.DiscardHandler),
		Transport: provider.RoundTripper(), APITransport: provider.RoundTripper(),
	}
	for _, f := range change {
		f(&cfg)
	}
	bf, err := bifrost.New(cfg)
	if err != nil {
		return nil, err
	}
	d := &Demo{bf, provider}
	err = bf.Integrations.Define(Graph())
	if err == nil {
		err = bf.Start(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, bf.Close())
	}
	return d, nil
}

// Close ends what New started.
func (d *Demo) Close() error { return d.Bifrost.Close() }

// Graph is the definition that New defines, as a host would write it.
func Graph() integrations.Definition {
	return integrations.Definition{
		Name: "Microsoft_Graph", Description: "Microsoft Graph API connection",
		DefaultEntityID: "common",
		APIHosts:        []string{"graph.oauthtest.example"},
		OAuth:           Client(),
	}
}

// Client is the application that is registered with the provider.
func Client() *oauthflow.Client {
	app, urls := oauthtest.DefaultClient(), oauthtest.At("https://login.oauthtest.example")
	return &oauthflow.Client{
		Provider: oauthflow.Provider{AuthorizationURL: urls.AuthorizationURL, TokenURL: urls.TokenURL, RevocationURL: urls.RevocationURL},
		Flow:     oauthflow.AuthorizationCode,
		ClientID: app.ID, ClientSecret: bifrost.Secret(app.Secret),
		Scopes: []string{"offline_access", "Directory.Read.All"},
	}
}

// UsersURL is the API call of the examples.
const UsersURL = "https://graph.oauthtest.example/v1.0/users"

// UserNames calls the API and returns the names of a directory's users. The
// client brings the token.
func UserNames(ctx context.Context, client *http.Client) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, UsersURL, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API answered %s", res.Status)
	}
	var page struct {
		Value []struct{ DisplayName string }
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		return nil, err
	}
	names := make([]string, len(page.Value))
	for i, user := range page.Value {
		names[i] = user.DisplayName
	}
	return names, nil
}
