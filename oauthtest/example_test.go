package oauthtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// configFor is an application registered with the provider.
func configFor(urls oauthtest.Endpoints) *oauth2.Config {
	client := oauthtest.DefaultClient()
	return &oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret,
		Endpoint: oauth2.Endpoint{
			AuthURL: urls.AuthorizationURL, TokenURL: urls.TokenURL, AuthStyle: oauth2.AuthStyleInParams,
		},
		RedirectURL: "http://localhost:8080/callback",
		Scopes:      []string{"offline_access", "Directory.Read.All"},
	}
}

// connect signs in as user and exchanges the code.
func connect(ctx context.Context, p *oauthtest.Provider, app *oauth2.Config, user string) *oauth2.Token {
	verifier := oauth2.GenerateVerifier()
	callback, err := p.Authorize(ctx, app.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), user)
	if err != nil {
		log.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		log.Fatal(err)
	}
	token, err := app.Exchange(ctx, u.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		log.Fatal(err)
	}
	return token
}

// The whole way without a socket or a browser: sign-in, consent, code, token, API.
func Example() {
	provider, err := oauthtest.New(oauthtest.Config{PageSize: 3})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: provider.RoundTripper()})
	app := configFor(provider.Endpoints().For("common"))

	token := connect(ctx, provider, app, "alice@globex.example")
	res, err := app.Client(ctx, token).Get(provider.Endpoints().UsersURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var page struct {
		Value []struct{ DisplayName string }
		Next  string `json:"@odata.nextLink"`
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		log.Println(err)
	}
	for _, user := range page.Value {
		fmt.Println(user.DisplayName)
	}
	fmt.Println("more:", page.Next != "")
	// Output:
	// Alice Abara
	// Inês Infante
	// Jonas Jansen
	// more: true
}

// A reply gets lost after the provider has rotated the refresh token. A client
// that just tries again loses the connection, and the journal tells.
func ExampleProvider_Script() {
	provider, err := oauthtest.New(oauthtest.Config{Rotation: oauthtest.Strict})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: provider.RoundTripper()})
	app := configFor(provider.Endpoints().For("common"))
	token := connect(ctx, provider, app, "alice")
	expired := &oauth2.Token{RefreshToken: token.RefreshToken}

	provider.Script(oauthtest.Refresh, oauthtest.Lose())
	_, err = app.TokenSource(ctx, expired).Token()
	fmt.Println("first try failed:", err != nil)

	_, err = app.TokenSource(ctx, expired).Token()
	fmt.Println("second try failed:", err != nil)
	fmt.Println("the grant was revoked:", provider.Families()[0].Revoked)
	fmt.Println("presented again:", provider.Counts().Repeated)
	// Output:
	// first try failed: true
	// second try failed: true
	// the grant was revoked: reuse
	// presented again: 1
}

// Somebody changed the password: every grant of that user is dead.
func ExampleProvider_Revoke() {
	provider, err := oauthtest.New(oauthtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: provider.RoundTripper()})
	app := configFor(provider.Endpoints().For("common"))
	token := connect(ctx, provider, app, "alice")

	dead, err := provider.Revoke("alice@acme.example")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("grants revoked:", dead)

	_, err = app.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		fmt.Println(refused.ErrorCode)
	}
	// Output:
	// grants revoked: 1
	// invalid_grant
}

// Over real HTTP: the provider behind a server, its pages walked by a Browser.
func ExampleBrowser() {
	provider, err := oauthtest.New(oauthtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(provider)
	defer server.Close()
	app := configFor(oauthtest.At(server.URL).For("acme"))

	request := app.AuthCodeURL("state", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	callback, err := oauthtest.Browser{User: "bruno", Deny: true}.Walk(context.Background(), request)
	if err != nil {
		log.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Host, u.Query().Get("error"))
	// Output:
	// localhost:8080 access_denied
}

// An application's own token, without a user: client credentials. What it was for
// stands in the journal.
func ExampleProvider_Journal() {
	provider, err := oauthtest.New(oauthtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: provider.RoundTripper()})
	client := oauthtest.DefaultClient()
	app := clientcredentials.Config{
		ClientID: client.ID, ClientSecret: client.Secret, AuthStyle: oauth2.AuthStyleInParams,
		TokenURL: provider.Endpoints().For("globex").TokenURL, // a tenant of its own: "common" is refused
		Scopes:   []string{"https://graph.oauthtest.example/.default"},
	}
	if _, err := app.Token(ctx); err != nil {
		log.Fatal(err)
	}
	for _, r := range provider.Journal() {
		fmt.Println(r.Grant, r.Tenant, r.Granted, r.Status)
	}
	// Output:
	// client_credentials globex https://graph.oauthtest.example/.default 200
}
