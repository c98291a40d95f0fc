package oauthtest

import (
	"net/http"
	"time"
)

// refresh is the refresh_token grant (RFC 6749 §6).
func (p *Provider) refresh(s *state, now time.Time, client *Client, x *Exchange) (_ *Reply, changed bool) {
	id, n, genuine := s.parseRefreshToken(x.form.Get("refresh_token"))
	f := s.Families[id]
	switch {
	case !genuine || f == nil || f.Client != client.ID || p.config.tenant(f.Tenant) == nil:
		return invalidGrant("AADSTS9002313: The refresh token is malformed, unknown, or another application's."), false
	case f.Revoked == "password_changed":
		return invalidGrant("AADSTS50173: The grant was revoked because the password was changed."), false
	case f.Revoked != "":
		return invalidGrant("AADSTS700082: The grant was revoked (" + f.Revoked + ")."), false
	case now.After(f.Used.Add(p.config.RefreshLifetime)):
		return invalidGrant("AADSTS700082: The refresh token has expired due to inactivity."), false
	case !p.servesTenant(x.request.PathValue("tenant"), f.Tenant):
		return invalidGrant("AADSTS50194: The refresh token was issued for another tenant."), false
	}
	scopes, problem := p.narrowed(f, x)
	if problem != nil {
		return problem, false
	}
	next, ok := p.rotate(f, n, now)
	if !ok {
		f.Revoked = "reuse"
		p.journal.counts.Reuse++ // change holds the lock
		return invalidGrant("AADSTS700082: The refresh token was used before; its family is revoked."), true
	}
	f.Used = now
	reply := p.issue(s, now, f, scopes, next, "", x.request)
	reply.successor, _ = reply.Members["refresh_token"].(string)
	return reply, true
}

// rotate decides which refresh token the n-th one is exchanged for; 0: none is
// sent. It returns false for a reuse that kills the family.
func (p *Provider) rotate(f *Family, n int, now time.Time) (next int, ok bool) {
	again := n == f.Previous && !now.After(f.Rotated.Add(p.config.Grace))
	switch policy := p.config.Rotation; {
	case policy == Static:
		return 0, true
	case policy == Reusable:
		f.Current++
		return f.Current, true
	case n == f.Current:
		f.Previous, f.Rotated = n, now
		f.Current++
		return f.Current, true
	case policy == Grace && again:
		return f.Current, true
	case policy == Replace && again:
		f.Current++
		return f.Current, true
	}
	return 0, false
}

// revoke is the revocation endpoint (RFC 7009). Any refresh token of a family
// revokes the family, an access token only itself.
func (p *Provider) revoke(x *Exchange) *Reply {
	if reply := x.checkForm(); reply != nil {
		return reply
	}
	client, reply := p.authenticate(x.request, x.form)
	if reply != nil {
		return reply
	}
	text := x.form.Get("token")
	if text == "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "token is missing.")
	}
	foreign := false
	err := p.change(func(s *state, _ time.Time) bool {
		id, _, genuine := s.parseRefreshToken(text)
		access, isAccess := s.parseAccessToken(text)
		if isAccess {
			id = access.Family
		}
		f := s.Families[id]
		if f == nil || (!genuine && !isAccess) {
			return false // §2.2: an invalid token is no error
		}
		if foreign = f.Client != client.ID; foreign {
			return false
		}
		if isAccess {
			s.Revoked[fingerprint(text)] = access.Expires
			return true
		}
		alive := f.Revoked == ""
		if alive {
			f.Revoked = "client"
		}
		return alive
	})
	switch {
	case err != nil:
		return oauthError(http.StatusServiceUnavailable, "temporarily_unavailable", err.Error())
	case foreign:
		return oauthError(http.StatusBadRequest, "unauthorized_client", "The token was issued to another client.")
	}
	return &Reply{Status: http.StatusOK}
}
