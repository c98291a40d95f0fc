package oauthtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// defaultScope ends a scope that means: all the permissions the application has
// at that resource.
const defaultScope = "/.default"

// resourceOf returns the resource of a scope such as
// https://outlook.office365.com/.default.
func resourceOf(scope string) (resource string, ok bool) {
	resource, ok = strings.CutSuffix(scope, defaultScope)
	return resource, ok && resource != ""
}

// knowsResource reports whether access tokens for a resource can be had.
func (c *Config) knowsResource(resource string) bool {
	return len(c.Resources) == 0 || slices.Contains(c.Resources, resource)
}

// application is the client_credentials grant (RFC 6749 §4.4): an access token
// for the application itself, in one tenant.
func (p *Provider) application(s *state, now time.Time, client *Client, x *Exchange) (_ *Reply, changed bool) {
	path := x.request.PathValue("tenant")
	tenant := p.config.tenant(path)
	scopes, resource, problem := p.applicationScope(x)
	switch {
	case client.Secret == "":
		return oauthError(http.StatusBadRequest, "unauthorized_client", "AADSTS700025: Client credentials are for confidential clients only."), false
	case anyTenant(path) || tenant == nil:
		return oauthError(http.StatusBadRequest, "invalid_request", "AADSTS50059: An application signs in to one tenant; '"+path+"' names none."), false
	case problem != nil:
		return problem, false
	case !p.config.knowsResource(resource):
		return invalidResource(resource), false
	}
	f := s.applicationFamily(client.ID, tenant.ID, scopes)
	if f == nil {
		s.Serial++
		f = &Family{ID: fmt.Sprint(s.Serial), Client: client.ID, Tenant: tenant.ID, Scopes: scopes, Created: now}
		s.Families[f.ID] = f
	}
	f.Used = now
	reply := p.issue(s, now, f, scopes, 0, "", x.request)
	if len(scopes) == 0 {
		delete(reply.Members, "scope") // RFC 6749 §3.3: a scope has a character at least
	}
	return reply, true
}

// applicationScope reads what the token is to be for: scope=<resource>/.default as
// Microsoft has it, or audience=<resource> as Auth0 has it.
func (p *Provider) applicationScope(x *Exchange) (scopes []string, resource string, problem *Reply) {
	scopes, audience := strings.Fields(x.form.Get("scope")), x.form.Get("audience")
	switch {
	case audience != "":
		return scopes, audience, nil
	case len(scopes) == 0:
		return nil, "", oauthError(http.StatusBadRequest, "invalid_request", "AADSTS90014: The required field 'scope' is missing.")
	}
	resource, ok := resourceOf(scopes[0])
	if len(scopes) > 1 || !ok {
		return nil, "", invalidScope("AADSTS1002012: The scope '" + strings.Join(scopes, " ") +
			"' is not valid for client credentials; it must be one resource with " + defaultScope + " behind it.")
	}
	return scopes, resource, nil
}

// applicationFamily finds the grant of an earlier request, so that minting does
// not make the state grow. A user's grant has a User.
func (s *state) applicationFamily(client, tenant string, scopes []string) *Family {
	for _, f := range s.Families {
		if f.User == "" && f.Revoked == "" && f.Client == client && f.Tenant == tenant && slices.Equal(f.Scopes, scopes) {
			return f
		}
	}
	return nil
}

// narrowed checks the scope of a refresh: a part of what was granted (RFC 6749
// §6), or one other resource as Microsoft allows, for which the user's consent is
// taken for granted. It returns all that was granted where none is asked for.
func (p *Provider) narrowed(f *Family, x *Exchange) (scopes []string, problem *Reply) {
	asked := strings.Fields(x.form.Get("scope"))
	if audience := x.form.Get("audience"); audience != "" && !p.config.knowsResource(audience) {
		return nil, invalidResource(audience)
	}
	if len(asked) == 0 {
		return f.Scopes, nil
	}
	other := ""
	for _, scope := range asked {
		if slices.Contains(f.Scopes, scope) {
			continue
		}
		resource, ok := resourceOf(scope)
		switch {
		case !ok:
			return nil, invalidScope("AADSTS70011: The scope '" + scope + "' was not granted.")
		case !p.config.knowsResource(resource):
			return nil, invalidResource(resource)
		case other != "" && other != resource:
			return nil, invalidScope("AADSTS28000: The scope names more than one resource.")
		}
		other = resource
	}
	return asked, nil
}

func invalidScope(description string) *Reply {
	return oauthError(http.StatusBadRequest, "invalid_scope", description)
}

func invalidResource(resource string) *Reply {
	return invalidScope("AADSTS500011: The resource principal named '" + resource + "' was not found in the tenant.")
}
