package oauthtest

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxPage is the largest $top.
const maxPage = 999

// users is GET /v1.0/users: the users of the access token's tenant, in pages.
func (p *Provider) users(x *Exchange) *Reply {
	f, problem := p.bearer(x.request)
	if problem != "" {
		r := graphError(http.StatusUnauthorized, "InvalidAuthenticationToken", problem)
		challenge := `Bearer realm=""`
		if x.request.Header.Get("Authorization") != "" { // RFC 6750 §3.1: no error code where no token came
			challenge += `, error="invalid_token", error_description="` + problem + `"`
		}
		return r.SetHeader("WWW-Authenticate", challenge)
	}
	tenant := p.config.tenant(f.Tenant)
	query := x.request.URL.Query()
	top := p.config.PageSize
	if query.Has("$top") {
		n, err := strconv.Atoi(query.Get("$top"))
		if err != nil || n < 1 || n > maxPage {
			return graphError(http.StatusBadRequest, "Request_BadRequest", "$top must be between 1 and 999.")
		}
		top = n
	}
	users := p.directory(tenant)
	start := 0
	if query.Has("$skiptoken") {
		after, err := base64.RawURLEncoding.DecodeString(query.Get("$skiptoken"))
		if err != nil {
			return graphError(http.StatusBadRequest, "Directory_ExpiredPageToken", "The $skiptoken is not one of ours.")
		}
		// By name, not by number: an account that appears between two pages shifts nothing.
		start, _ = slices.BinarySearchFunc(users, string(after), func(u User, name string) int {
			return strings.Compare(u.Username, name+"\x00")
		})
	}
	page := users[start:min(start+top, len(users))]
	value := make([]any, len(page))
	for i, u := range page {
		value[i] = map[string]any{
			"id": tenant.userID(u.Username), "displayName": u.Name, "jobTitle": orNull(u.JobTitle),
			"userPrincipalName": tenant.principal(u.Username), "mail": tenant.principal(u.Username),
		}
	}
	here := origin(x.request) + "/v1.0/"
	members := map[string]any{"@odata.context": here + "$metadata#users", "value": value}
	if start+top < len(users) {
		query.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(page[len(page)-1].Username)))
		members["@odata.nextLink"] = here + "users?" + query.Encode()
	}
	return &Reply{Status: http.StatusOK, Members: members}
}

// directory returns a tenant's users, by name.
func (p *Provider) directory(t *Tenant) []User {
	users := slices.Clone(t.Users)
	p.mu.Lock()
	for _, name := range p.state.Accounts[t.ID] {
		if !t.has(name) {
			users = append(users, t.user(name))
		}
	}
	p.mu.Unlock()
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.Username, b.Username) })
	return users
}

// bearer finds the grant of a request's access token, or says why there is none.
func (p *Provider) bearer(r *http.Request) (f Family, problem string) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "" {
		return f, "Access token is empty."
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	token, ok := p.state.parseAccessToken(text)
	family := p.state.Families[token.Family]
	_, revoked := p.state.Revoked[fingerprint(text)]
	switch {
	case !strings.EqualFold(scheme, "Bearer") || !ok:
		return f, "CompactToken parsing failed: the access token is malformed."
	case family == nil || family.Revoked != "" || revoked || p.config.tenant(family.Tenant) == nil:
		return f, "The access token was revoked."
	case token.Epoch != p.state.Epoch || !p.config.Now().Before(token.Expires):
		return f, "Lifetime validation failed, the token is expired."
	}
	return *family, ""
}

// graphError is an error reply as Graph's are.
func graphError(status int, code, message string) *Reply {
	return &Reply{Status: status, Members: map[string]any{"error": map[string]any{"code": code, "message": message}}}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
