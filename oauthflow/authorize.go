package oauthflow

import "net/url"

// AuthorizationRequest is what varies from one authorization request to the next.
type AuthorizationRequest struct {
	EntityID    string
	RedirectURI string
	State       string
	Challenge   string   // S256 code challenge (RFC 7636 §4.2); ignored with DisablePKCE
	Scopes      []string // nil: the client's
}

// BuildAuthorizationURL returns where to send the browser (RFC 6749 §4.1.1).
func (c *Client) BuildAuthorizationURL(r AuthorizationRequest) (string, error) {
	u := url.Values{"state": {r.State}}
	return u.Encode(), nil
}

// TokenHost returns scheme, host and path of the URL that refreshes go to.
func (c *Client) TokenHost(entityID string) (string, error) { return c.TokenURL + entityID, nil }

// IssuerFor returns the Issuer with {entity_id} filled in; empty if there is none.
func (c *Client) IssuerFor(entityID string) (string, error) { return c.Issuer + entityID, nil }
