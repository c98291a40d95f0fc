package bifrost_test

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// The whole program: a server whose customers connect their Microsoft tenants,
// and a workflow that uses them.
func Example() {
	keys, err := tokenstore.ParseKeyring(os.Getenv("BIFROST_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	db, err := sqlite.Open("bifrost.db")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	bf, err := bifrost.New(bifrost.Config{
		BaseURL: "https://app.example.com", // what browsers see; redirect URIs follow from it
		Store:   db,
		Keys:    keys, // seals secrets before they reach the database
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bf.Close()

	err = bf.Integrations.Define(integrations.Definition{
		Name: "Microsoft_Graph", Description: "Microsoft Graph API connection",
		DefaultEntityID: "common",
		APIHosts:        []string{"graph.microsoft.com"},
		OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{
				AuthorizationURL: "https://login.microsoftonline.com/{entity_id}/oauth2/v2.0/authorize",
				TokenURL:         "https://login.microsoftonline.com/{entity_id}/oauth2/v2.0/token",
			},
			Flow:         oauthflow.AuthorizationCode,
			ClientID:     os.Getenv("MICROSOFT_CLIENT_ID"),
			ClientSecret: bifrost.Secret(os.Getenv("MICROSOFT_CLIENT_SECRET")),
			Scopes:       []string{"offline_access", "Directory.Read.All"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	workflow.MustRegister(bf.Workflows, "list_users", listUsers, workflow.Description("List users from Microsoft Graph"),
		workflow.AllowMembers()) // else administrators alone may execute it

	mux := http.NewServeMux()
	mux.Handle("/", httpadapter.New(bf, httpadapter.Config{Principal: whoIsThis}))
	if err := bf.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(":8080", mux))
}

// User is a row of Microsoft Graph's users.
type User struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
}

// listUsers runs for an organization and uses that organization's connection.
func listUsers(ctx context.Context, _ struct{}) ([]User, error) {
	graph, err := integrations.Get(ctx, "Microsoft_Graph")
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://graph.microsoft.com/v1.0/users", nil)
	if err != nil {
		return nil, err
	}
	res, err := graph.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New("Microsoft Graph answered " + res.Status)
	}
	var page struct{ Value []User }
	err = json.NewDecoder(res.Body).Decode(&page)
	return page.Value, err
}

// whoIsThis is where the host's own sign-in comes in.
func whoIsThis(*http.Request) (httpadapter.Principal, error) {
	return httpadapter.Principal{User: "alice", Org: "org-123", Role: httpadapter.Member}, nil
}
