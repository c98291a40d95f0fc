package oauthtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// token is the token endpoint (RFC 6749 §3.2).
func (p *Provider) token(x *Exchange) *Reply {
	if reply := x.checkForm(); reply != nil {
		return reply
	}
	client, reply := p.authenticate(x.request, x.form)
	if reply != nil {
		return reply
	}
	tenant := x.request.PathValue("tenant")
	if !p.knowsTenant(tenant) {
		return oauthError(http.StatusBadRequest, "invalid_request", "AADSTS90002: Tenant '"+tenant+"' not found.")
	}
	run := p.redeem
	switch grant := x.form.Get("grant_type"); grant {
	case "authorization_code":
	case "refresh_token":
		run = p.refresh
	case "client_credentials":
		run = p.application
	case "":
		return oauthError(http.StatusBadRequest, "invalid_request", "grant_type is missing.")
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type '"+grant+"'.")
	}
	err := p.change(func(s *state, now time.Time) (changed bool) {
		reply, changed = run(s, now, client, x)
		return changed
	})
	if err != nil {
		return oauthError(http.StatusInternalServerError, "server_error", err.Error())
	}
	return reply
}

// checkForm refuses what RFC 6749 §3.2 forbids: no form, repeated parameters,
// secrets in the query.
func (x *Exchange) checkForm() *Reply {
	mediaType, _, _ := strings.Cut(x.request.Header.Get("Content-Type"), ";")
	switch {
	case !strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded"):
		return oauthError(http.StatusBadRequest, "invalid_request", "Content-Type must be application/x-www-form-urlencoded.")
	case x.formErr != nil:
		return oauthError(http.StatusBadRequest, "invalid_request", "The request cannot be read: "+x.formErr.Error()+".")
	}
	for name, values := range x.form {
		if len(values) > 1 {
			return oauthError(http.StatusBadRequest, "invalid_request", "Parameter "+name+" is repeated.")
		}
	}
	query := x.request.URL.Query()
	for _, name := range []string{"client_secret", "code", "code_verifier", "refresh_token", "token"} {
		if query.Has(name) {
			return oauthError(http.StatusBadRequest, "invalid_request", "Parameter "+name+" must not be in the URL.")
		}
	}
	return nil
}

// knowsTenant accepts the tenants' names, and "common" and "organizations",
// which stand for all.
func (p *Provider) knowsTenant(name string) bool {
	return anyTenant(name) || p.config.tenant(name) != nil
}

func anyTenant(name string) bool {
	return strings.EqualFold(name, "common") || strings.EqualFold(name, "organizations")
}

// servesTenant reports whether a path's tenant may be used for a grant of tenant id.
func (p *Provider) servesTenant(path, id string) bool {
	t := p.config.tenant(path)
	return anyTenant(path) || (t != nil && t.ID == id)
}

// redeem is the authorization_code grant (RFC 6749 §4.1.3, RFC 7636 §4.5).
func (p *Provider) redeem(s *state, now time.Time, client *Client, x *Exchange) (_ *Reply, changed bool) {
	c := s.Codes[fingerprint(x.form.Get("code"))]
	verifier := x.form.Get("code_verifier")
	switch {
	case c == nil || c.Client != client.ID || p.config.tenant(c.Tenant) == nil:
		return invalidGrant("AADSTS9002313: The code is malformed, unknown, or another application's."), false
	case c.Family != "":
		if f := s.Families[c.Family]; f != nil && f.Revoked == "" {
			f.Revoked = "code_reuse" // RFC 6749 §4.1.2
			return invalidGrant("AADSTS54005: The code was already redeemed; everything issued for it is revoked."), true
		}
		return invalidGrant("AADSTS54005: The code was already redeemed."), false
	case !now.Before(c.Expires):
		return invalidGrant("AADSTS70008: The code has expired."), false
	case c.RedirectURI != x.form.Get("redirect_uri"):
		return invalidGrant("AADSTS50011: redirect_uri differs from the authorization request's."), false
	case !p.servesTenant(x.request.PathValue("tenant"), c.Tenant):
		return invalidGrant("AADSTS50194: The code was issued for another tenant."), false
	case c.Challenge == "" && verifier != "", c.Challenge != "" && !provesChallenge(verifier, c.Challenge):
		return invalidGrant("AADSTS501481: The code_verifier does not match the code_challenge."), false
	}
	s.Serial++
	f := &Family{
		ID: fmt.Sprint(s.Serial), Client: client.ID, Tenant: c.Tenant, User: c.User, Scopes: c.Scopes,
		Refreshable: slices.Contains(c.Scopes, "offline_access"), Created: now, Used: now,
	}
	c.Family = f.ID
	s.Families[f.ID] = f
	if f.Refreshable {
		f.Current = 1
	}
	return p.issue(s, now, f, f.Scopes, f.Current, c.Nonce, x.request), true
}

// provesChallenge checks an S256 challenge; a verifier has 43 to 128 characters.
func provesChallenge(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	return len(verifier) >= 43 && len(verifier) <= 128 && subtle.ConstantTimeCompare([]byte(want), []byte(challenge)) == 1
}

func invalidGrant(description string) *Reply {
	return oauthError(http.StatusBadRequest, "invalid_grant", description)
}

// issue makes a successful reply (RFC 6749 §5.1) with the family's refresh token
// number n; 0: without one.
func (p *Provider) issue(s *state, now time.Time, f *Family, scopes []string, n int, nonce string, r *http.Request) *Reply {
	seconds := int64(p.config.AccessLifetime / time.Second)
	access := s.newAccessToken(f, now.Add(p.config.AccessLifetime))
	reply := &Reply{Status: http.StatusOK, secrets: []string{access}, Members: map[string]any{
		"token_type":     "Bearer",
		"scope":          strings.Join(scopes, " "),
		"expires_in":     seconds,
		"ext_expires_in": seconds,
		"access_token":   access,
	}}
	reply.SetHeader("Pragma", "no-cache")
	if n > 0 {
		token := s.refreshToken(f, n, p.config.RefreshTokenSize)
		reply.Members["refresh_token"] = token
		reply.secrets = append(reply.secrets, token)
	}
	if p.config.IDToken != NoIDToken && slices.Contains(scopes, "openid") {
		token := p.idToken(now, f, nonce, r)
		reply.Members["id_token"] = token
		reply.secrets = append(reply.secrets, token)
	}
	return reply
}

// authenticate checks who asks (RFC 6749 §2.3).
func (p *Provider) authenticate(r *http.Request, form url.Values) (*Client, *Reply) {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	method := AuthNone
	if form.Has("client_secret") {
		method = AuthPost
	}
	if user, password, ok := r.BasicAuth(); ok {
		if method == AuthPost {
			return nil, oauthError(http.StatusBadRequest, "invalid_request", "Two client authentication methods at once.")
		}
		method = AuthBasic
		// §2.3.1: both are form-encoded before they are put together.
		basicID, err1 := url.QueryUnescape(user)
		basicSecret, err2 := url.QueryUnescape(password)
		if err1 != nil || err2 != nil || (id != "" && id != basicID) {
			return nil, oauthError(http.StatusUnauthorized, "invalid_client", "The Authorization header is not form-encoded, or names another client.")
		}
		id, secret = basicID, basicSecret
	} else if r.Header.Get("Authorization") != "" {
		return nil, oauthError(http.StatusUnauthorized, "invalid_client", "The Authorization header is not Basic.")
	}
	client := p.config.client(id)
	switch {
	case client == nil:
		return nil, oauthError(http.StatusUnauthorized, "invalid_client", "AADSTS700016: Application with identifier '"+id+"' was not found.")
	case !client.accepts(method):
		return nil, oauthError(http.StatusUnauthorized, "invalid_client", "AADSTS7000218: This client does not authenticate with "+string(method)+".")
	case subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1:
		return nil, oauthError(http.StatusUnauthorized, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
	}
	return client, nil
}

func (c *Client) accepts(method ClientAuth) bool {
	switch {
	case c.Auth != "":
		return method == c.Auth
	case c.Secret == "":
		return method == AuthNone
	}
	return method == AuthPost || method == AuthBasic
}
