package oauthflow_test

import (
	"errors"
	"fmt"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// A host that has the client from a form shows each fault beside its field.
func ExampleClient_Validate() {
	client := &oauthflow.Client{
		Provider: oauthflow.Provider{
			AuthorizationURL: "https://login.example.com/authorize",
			TokenURL:         "https://{shop}.example.com/token",
		},
		ClientID:     "client",
		ClientSecret: tokenstore.NewSecret("secret"),
		Scopes:       []string{"openid", "read write"},
	}
	var all interface{ Unwrap() []error }
	if errors.As(client.Validate(), &all) {
		for _, err := range all.Unwrap() {
			var fault *oauthflow.FieldError
			if errors.As(err, &fault) {
				fmt.Printf("%s: %s\n", fault.Field, fault.Problem)
			}
		}
	}
	// Output:
	// TokenURL: contains {shop}, which is not declared: the variables are entity_id; correct the name, or declare it in Provider.Variables
	// Scopes[1]: has spaces: write one scope per element
}
