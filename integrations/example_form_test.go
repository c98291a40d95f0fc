package integrations_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bifrost-go/bifrost/integrations"
)

// Everything that is wrong is said at once, with the field's path.
func ExampleParseDefinition() {
	_, err := integrations.ParseDefinition([]byte(`{
		"name": "Tickets",
		"oauth": {
			"client_id": "app-1", "client_secret": "…",
			"authorization_url": "https://tickets.example/authorize",
			"tokenUrl": "https://tickets.example/token",
			"scopes": ["read write"]
		}
	}`))
	var invalid *integrations.InvalidError
	if errors.As(err, &invalid) {
		for _, f := range invalid.Fields {
			fmt.Println(f.Field, f.Message)
		}
	}
	// Output:
	// oauth.tokenUrl is not known, but token_url is: take it out or correct its name
	// oauth.token_url is empty: set it to the provider's URL
	// oauth.scopes[0] has spaces: write one scope per element
}

// A merge patch names what changes; the client secret is never written.
func ExampleDefinition_Merge() {
	d, err := integrations.ParseDefinition([]byte(`{
		"name": "Tickets", "description": "Our tickets",
		"oauth": {
			"flow": "client_credentials", "client_id": "app-1", "client_secret": "s3cret",
			"token_url": "https://tickets.example/token", "scopes": "read write"
		}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := d.Merge([]byte(`{"description": null, "oauth": {"scopes": ["read"]}}`)); err != nil {
		fmt.Println(err)
		return
	}
	text, err := json.MarshalIndent(d, "", "  ")
	fmt.Println(string(text), err)
	// Output:
	// {
	//   "name": "Tickets",
	//   "oauth": {
	//     "flow": "client_credentials",
	//     "client_id": "app-1",
	//     "client_secret_set": true,
	//     "token_url": "https://tickets.example/token",
	//     "scopes": [
	//       "read"
	//     ]
	//   }
	// } <nil>
}
