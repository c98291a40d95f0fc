package oauthtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// idToken makes the id_token of a family (OpenID Connect Core §2).
func (p *Provider) idToken(now time.Time, f *Family, nonce string, r *http.Request) string {
	tenant := p.config.tenant(f.Tenant)
	user := tenant.user(f.User)
	claims := map[string]any{
		"iss": p.issuer(r, tenant), "aud": f.Client, "sub": guid("subject", f.Client, tenant.ID, f.User),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(p.config.AccessLifetime).Unix(),
		"tid": tenant.GUID(), "oid": tenant.userID(f.User),
		"preferred_username": tenant.principal(f.User), "name": user.Name, "ver": "2.0",
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	secret := p.config.client(f.Client).Secret
	alg := p.config.IDToken
	if secret == "" {
		alg = UnsignedIDToken // a public client has no key to check a signature with
	}
	header, _ := json.Marshal(map[string]string{"alg": string(alg), "typ": "JWT"}) // strings and numbers always encode
	payload, _ := json.Marshal(claims)
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	if alg == UnsignedIDToken {
		return text + "."
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
