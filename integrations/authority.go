package integrations

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"reflect"
	"slices"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// Who may change where a stored definition's secrets and tokens go. Its connections
// were made for the hosts that it had then; an administrator's session alone must
// not be enough to have their tokens sent to others. The client secret is what
// proves more than a session.
//
// authority is what a definition's connections remember as a part of its
// fingerprint. It follows from the secret that comes with a change that matters: who
// knows the one that was there when they were connected gets the same again, also to
// take a change back, and everybody else another one. That the secret was replaced
// meanwhile, as is usual every few months, changes nothing and proves nothing: a
// session is enough for it.
type authority struct {
	id   string
	salt string // of the definition, random
}

func newAuthority(c *oauthflow.Client) authority { return authority{salt: rand.Text()}.by(c) }

// by is the authority of whoever knows c's secret; without one, a new one each time.
func (a authority) by(c *oauthflow.Client) authority {
	secret := rand.Text()
	if c != nil && !c.ClientSecret.IsZero() {
		secret = c.ClientSecret.Reveal()
	}
	mac := hmac.New(sha256.New, []byte(a.salt))
	mac.Write([]byte(secret))
	a.id = hex.EncodeToString(mac.Sum(nil))
	return a
}

// authorize decides about a changed definition: it puts the old client secret into
// it, where that has no new one, and returns the authority that it has from now on.
func authorize(d *Definition, old *definition) (authority, error) {
	d.secretKept = false
	field := sensitiveChange(d, &old.Definition)
	given := d.OAuth != nil && !d.OAuth.ClientSecret.IsZero()
	if !given && d.OAuth != nil && d.OAuth.ClientAuth != oauthflow.AuthNone && old.OAuth != nil && !old.OAuth.ClientSecret.IsZero() {
		if field != "" {
			return authority{}, invalid("oauth.client_secret", "must be given again in the same request, because "+field+" changes: "+
				"whoever changes where secrets and tokens go must know it")
		}
		d.OAuth.ClientSecret = old.OAuth.ClientSecret
	}
	switch {
	case old.authority.salt == "": // it never opens again
		return newAuthority(d.OAuth), nil
	case field == "":
		return old.authority, nil
	}
	return old.authority.by(d.OAuth), nil
}

// sensitiveChange names a field whose change may lead secrets or tokens to
// somebody else, or make one pass for the other; empty if there is none.
func sensitiveChange(d, old *Definition) string {
	switch {
	case !slices.Equal(d.APIHosts, old.APIHosts):
		return "api_hosts"
	case d.TestURL != old.TestURL:
		return "test_url"
	case d.APIHeader != old.APIHeader && d.APIHeader+old.APIHeader != "Authorization":
		return "api_header"
	case d.OAuth == nil && old.OAuth == nil:
		return ""
	case d.OAuth == nil || old.OAuth == nil:
		return "oauth"
	}
	a, b := d.OAuth, old.OAuth
	for _, f := range []struct {
		field string
		same  bool
	}{
		{"oauth.flow", flowOf(a) == flowOf(b)},
		{"oauth.authorization_url", a.AuthorizationURL == b.AuthorizationURL},
		{"oauth.token_url", a.TokenURL == b.TokenURL},
		{"oauth.refresh_url", a.RefreshURL == b.RefreshURL},
		{"oauth.revocation_url", a.RevocationURL == b.RevocationURL},
		{"oauth.issuer", a.Issuer == b.Issuer},
		{"oauth.client_id", a.ClientID == b.ClientID},
		{"oauth.client_auth", authOf(a) == authOf(b)},
		{"oauth.response", reflect.DeepEqual(a.Response, b.Response)},
		{"oauth.variables", sameVariables(a.Variables, b.Variables)},
	} {
		if !f.same {
			return f.field
		}
	}
	return ""
}

// authOf returns the client authentication, the default included.
func authOf(c *oauthflow.Client) oauthflow.ClientAuth {
	if c.ClientAuth == "" {
		return oauthflow.AuthPost
	}
	return c.ClientAuth
}

func flowOf(c *oauthflow.Client) oauthflow.Flow {
	if c.Flow == "" {
		return oauthflow.AuthorizationCode
	}
	return c.Flow
}

func sameVariables(a, b map[string]oauthflow.Variable) bool {
	return maps.EqualFunc(a, b, func(v, w oauthflow.Variable) bool {
		return v.Kind == w.Kind && v.AnyHost == w.AnyHost && slices.Equal(v.Hosts, w.Hosts)
	})
}
