package after_test

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/examples/demo"
	"github.com/bifrost-go/bifrost/examples/migration/after"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// newHost is the host with a connected organization, acme, and a provider that
// rotates.
func newHost(t *testing.T) (*bifrost.Bifrost, *oauthtest.Provider) {
	t.Helper()
	provider, err := oauthtest.New(oauthtest.Config{})
	require.NoError(t, err)
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	bf, err := bifrost.New(bifrost.Config{
		BaseURL: demo.BaseURL, Store: bifrost.Memory(), Keys: keys, Logger: slog.New(slog.DiscardHandler),
		Transport: provider.RoundTripper(), APITransport: provider.RoundTripper(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bf.Close()) })
	client, urls := oauthtest.DefaultClient(), provider.Endpoints().For("common")
	require.NoError(t, bf.Integrations.Define(after.Definition(&oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret,
		Endpoint: oauth2.Endpoint{AuthURL: urls.AuthorizationURL, TokenURL: urls.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   []string{"offline_access", "Directory.Read.All"},
	}, "graph.oauthtest.example")))
	require.NoError(t, bf.Start(context.WithoutCancel(t.Context())))

	sessions := &demo.Sessions{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", sessions.SignIn)
	mux.Handle("/", after.Routes(bf, func(r *http.Request) (httpadapter.Principal, error) {
		user, ok := sessions.User(r)
		if !ok {
			return httpadapter.Principal{}, httpadapter.ErrNoPrincipal
		}
		return httpadapter.Principal{User: user.ID, Org: user.Org, Role: httpadapter.Member}, nil
	}))
	d := &demo.Demo{Bifrost: bf, Provider: provider}
	alice, err := d.Person(t.Context(), mux, "alice@acme")
	require.NoError(t, err)
	_, err = alice.Connect(t.Context(), "Microsoft_Graph", "alice@acme.example")
	require.NoError(t, err)
	return bf, provider
}

// What lost the connection in before_test.go: many who find the token expired.
func TestTheRace(t *testing.T) {
	bf, provider := newHost(t)
	require.NoError(t, provider.ExpireAll())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			client, err := after.Client(t.Context(), bf, "acme")
			if !assert.NoError(t, err) {
				return
			}
			names, err := demo.UserNames(t.Context(), client)
			assert.NoError(t, err)
			assert.Len(t, names, 8)
		})
	}
	wg.Wait()
	require.Equal(t, 1, provider.Counts().Requests["refresh_token"])
	require.Zero(t, provider.Counts().Repeated)
}

// And the visitor who goes away while the provider answers: the request goes on
// without them, and what comes of it is stored.
func TestTheVisitorWhoLeft(t *testing.T) {
	bf, provider := newHost(t)
	require.NoError(t, provider.ExpireAll())
	visit, leave := context.WithCancel(t.Context())
	client, err := after.Client(visit, bf, "acme")
	require.NoError(t, err)
	provider.Script(oauthtest.Refresh, oauthtest.Do(func(x *oauthtest.Exchange) {
		x.Process()
		leave()
	}))
	_, err = demo.UserNames(visit, client)
	require.ErrorIs(t, err, context.Canceled)

	client, err = after.Client(t.Context(), bf, "acme")
	require.NoError(t, err)
	names, err := demo.UserNames(t.Context(), client)
	require.NoError(t, err)
	require.Len(t, names, 8)
	require.Equal(t, 1, provider.Counts().Requests["refresh_token"])
}
