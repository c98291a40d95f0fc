package oauthflow

import (
	"errors"
	"maps"
	"net/url"
	"strings"
)

// endpointFields are the URL fields of a Provider, in the order they are declared.
var endpointFields = []string{"AuthorizationURL", "TokenURL", "RefreshURL", "RevocationURL"}

func (p *Provider) template(field string) string {
	switch field {
	case "AuthorizationURL":
		return p.AuthorizationURL
	case "TokenURL":
		return p.TokenURL
	case "RefreshURL":
		return p.RefreshURL
	case "RevocationURL":
		return p.RevocationURL
	}
	return ""
}

// refreshField is the field of the URL that refreshes go to.
func (p *Provider) refreshField() string {
	if p.RefreshURL != "" {
		return "RefreshURL"
	}
	return "TokenURL"
}

// endpoint expands one URL field; its error is a *TemplateError with Field set.
func (p *Provider) endpoint(field string, values map[string]string) (string, error) {
	return p.expand(field, p.template(field), values)
}

func (p *Provider) expand(field, template string, values map[string]string) (string, error) {
	if template == "" {
		return "", &TemplateError{Field: field, Problem: "is empty: set it to the provider's URL"}
	}
	expanded, err := Expand(template, p.Variables, values)
	var t *TemplateError
	if errors.As(err, &t) {
		t.Field = field
	}
	return expanded, err
}

// optional reports whether a URL field may be empty.
func (c *Client) optional(field string) bool {
	switch field {
	case "AuthorizationURL":
		return c.Flow == ClientCredentials // nobody is asked
	case "TokenURL":
		return false
	}
	return true
}

// withEntity returns the values of all template variables.
func withEntity(entityID string, values map[string]string) map[string]string {
	all := make(map[string]string, len(values)+1)
	maps.Copy(all, values)
	all[entityVariable] = entityID
	return all
}

// TokenHost returns where secrets are sent to, as it is recorded with a grant:
// scheme, host and path of the expanded RefreshURL (not for client credentials,
// which are never refreshed) or TokenURL, without its query; host in lower case,
// default port left out. A grant whose TokenHost is not this any more must not be
// refreshed. values are of variables other than entity_id. The error is a
// [*TemplateError].
func (c *Client) TokenHost(entityID string, values map[string]string) (string, error) {
	field := "TokenURL"
	if c.Flow != ClientCredentials {
		field = c.refreshField()
	}
	return c.host(field, entityID, values)
}

// host is TokenHost for one of the URLs.
func (c *Client) host(field, entityID string, values map[string]string) (string, error) {
	expanded, err := c.endpoint(field, withEntity(entityID, values))
	if err != nil {
		return "", err
	}
	u, err := url.Parse(expanded)
	if err != nil { // Expand parsed it already
		return "", err
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host + path, nil
}

// IssuerFor returns Issuer with its variables filled in, to be compared with an
// iss parameter byte by byte (RFC 9207 §2.4); empty if no issuer is configured.
func (c *Client) IssuerFor(entityID string, values map[string]string) (string, error) {
	if c.Issuer == "" {
		return "", nil
	}
	return c.expand("Issuer", c.Issuer, withEntity(entityID, values))
}
