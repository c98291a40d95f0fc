package oauthflow_test

import (
	"context"
	"fmt"
	"net/url"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// oneTarget is a program with a single integration.
type oneTarget struct{ only oauthflow.Target }

func (o oneTarget) Target(context.Context, tokenstore.Key) (oauthflow.Target, error) {
	return o.only, nil
}

// A manager used alone, without package integrations: connect an account, then
// ask for its token.
func ExampleManager() {
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		panic(err)
	}
	target := oauthflow.Target{
		Key:         tokenstore.Key{Definition: "crm"},
		Name:        "CRM",
		RedirectURI: "https://app.example.com/oauth/callback/CRM",
		Client: &oauthflow.Client{
			Provider: oauthflow.Provider{
				AuthorizationURL: "https://login.example.com/authorize",
				TokenURL:         "https://login.example.com/token",
			},
			ClientID:     "id",
			ClientSecret: tokenstore.NewSecret("secret"),
		},
	}
	m, err := oauthflow.New(oauthflow.Config{
		Store:     tokenstore.NewMemory(),
		Sealer:    tokenstore.NewSealer(keys),
		Targets:   oneTarget{target},
		Transport: &idp{}, // a provider in this process
		Secure:    true,
	})
	if err != nil {
		panic(err)
	}
	defer m.Close()

	// Set started.Cookie and send the browser to started.AuthorizationURL ...
	ctx := context.Background()
	started, err := m.Start(ctx, target, oauthflow.StartOptions{Principal: "alice", ReturnTo: "/"})
	if err != nil {
		panic(err)
	}
	sent, err := url.Parse(started.AuthorizationURL)
	if err != nil {
		panic(err)
	}

	// ... which comes back with a code.
	done, err := m.Callback(ctx, oauthflow.CallbackRequest{
		RawQuery:   url.Values{"code": {"abc"}, "state": {sent.Query().Get("state")}}.Encode(),
		Definition: "crm",
		Cookie:     func(string) string { return started.Cookie.Value },
		Principal:  "alice", HasPrincipal: true,
		Allowed: func(tokenstore.Key) bool { return true },
	})
	if err != nil {
		panic(err)
	}

	token, err := m.Token(ctx, target)
	if err != nil {
		panic(err)
	}
	fmt.Println(done.Name, "connected, back to", done.ReturnTo)
	fmt.Println(token.TokenType(), token.AccessToken(), "of generation", token.Generation())
	// Output:
	// CRM connected, back to /
	// Bearer [REDACTED] of generation 1
}
