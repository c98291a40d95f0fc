package oauthflow

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// AuthorizationRequest is what varies from one authorization request to the next.
type AuthorizationRequest struct {
	EntityID    string            // value of {entity_id}; may be empty if no URL has it
	Values      map[string]string // of template variables other than entity_id
	RedirectURI string            // absolute, exactly as registered with the provider
	State       string            // unguessable, single use
	// Challenge is the S256 code challenge (RFC 7636 §4.2); required unless the
	// provider has DisablePKCE, ignored then.
	Challenge string
	// Scopes replaces the client's scopes; nil means the client's.
	Scopes []string
}

// BuildAuthorizationURL returns the URL to send the browser to (RFC 6749 §4.1.1).
// A query in AuthorizationURL is kept. The error names the field that is wrong; it
// is a [*TemplateError] if AuthorizationURL cannot be expanded.
func (c *Client) BuildAuthorizationURL(r AuthorizationRequest) (string, error) {
	switch {
	case r.State == "":
		return "", errors.New("oauthflow: AuthorizationRequest.State is empty: make an unguessable one for every request")
	case r.RedirectURI == "":
		return "", errors.New("oauthflow: AuthorizationRequest.RedirectURI is empty: set it to the callback's absolute URL")
	case r.Challenge == "" && !c.DisablePKCE:
		return "", errors.New("oauthflow: AuthorizationRequest.Challenge is empty: make one from a verifier, or set Provider.DisablePKCE")
	}
	expanded, err := c.endpoint("AuthorizationURL", withEntity(r.EntityID, r.Values))
	if err != nil {
		return "", err
	}
	query := url.Values{
		"response_type": {"code"},
		"client_id":     {c.ClientID},
		"redirect_uri":  {r.RedirectURI},
		"state":         {r.State},
	}
	if !c.DisablePKCE {
		query.Set("code_challenge", r.Challenge)
		query.Set("code_challenge_method", "S256")
	}
	scopes := r.Scopes
	if scopes == nil {
		scopes = c.Scopes
	}
	if len(scopes) > 0 {
		query.Set("scope", c.JoinScopes(scopes))
	}
	if c.Audience != "" {
		query.Set("audience", c.Audience)
	}
	for name, values := range c.AuthorizationParams {
		if !slices.Contains(c.reservedAuthorization(), name) {
			query[name] = values
		}
	}
	separator := "?"
	if strings.Contains(expanded, "?") {
		separator = "&"
		if strings.HasSuffix(expanded, "?") || strings.HasSuffix(expanded, "&") {
			separator = ""
		}
	}
	return expanded + separator + query.Encode(), nil
}

// JoinScopes writes scopes the way the provider wants them.
func (p *Provider) JoinScopes(scopes []string) string {
	separator := p.ScopeSeparator
	if separator == "" {
		separator = " "
	}
	return strings.Join(scopes, separator)
}

// What the protocol itself sets must not be set by a definition: a second state
// or redirect_uri is how authorization requests are hijacked, and credentials in
// extra parameters would be shown as harmless. response_type and grant_type may be
// overridden: some providers have their own.
var (
	reservedAuthorize = []string{"client_id", "client_secret", "redirect_uri", "state", "scope", "code_challenge", "code_challenge_method"}
	reservedToken     = []string{"client_id", "client_secret", "redirect_uri", "code", "code_verifier", "refresh_token", "client_assertion", "client_assertion_type"}
)

// reservedAuthorization are the parameters of authorization requests that a
// definition may not set.
func (c *Client) reservedAuthorization() []string { return c.withAudience(reservedAuthorize) }

// reservedToken are those of token requests. A client credentials request asks for
// its scopes itself; other ones may have to repeat them as a parameter.
func (c *Client) reservedToken() []string {
	if c.Flow != ClientCredentials {
		return reservedToken
	}
	return c.withAudience(append(slices.Clone(reservedToken), "scope"))
}

func (c *Client) withAudience(names []string) []string {
	if c.Audience == "" {
		return names
	}
	return append(slices.Clone(names), "audience")
}
