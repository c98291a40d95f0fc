package oauthflow

import (
	"crypto/sha256"
	"net/url"
	"strings"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// mintKey is everything that decides which token a client credentials request
// brings (RFC 6749 §4.4). A definition that is changed in any of it has another
// token, and another back-off: what was mended is tried at once.
type mintKey struct {
	key      tokenstore.Key
	entityID string
	clientID string
	tokenURL string // expanded
	access   Access
	rest     [sha256.Size]byte // of the secret and the parameters
}

func mintKeyOf(t Target) (mintKey, error) {
	c := t.Client
	endpoint, err := c.endpoint("TokenURL", withEntity(t.EntityID, t.Values))
	if err != nil {
		return mintKey{}, err
	}
	rest := strings.Join([]string{
		c.ClientSecret.Reveal(), string(c.ClientAuth), c.JoinScopes(c.Scopes), c.Audience, c.TokenParams.Encode(),
	}, "\x00")
	return mintKey{
		key: t.Key, entityID: t.EntityID, clientID: c.ClientID, tokenURL: endpoint,
		access: t.Access, rest: sha256.Sum256([]byte(rest)),
	}, nil
}

// mintScopes are what a client credentials request asks for.
func (t Target) mintScopes() []string {
	if t.Access.Scope != "" {
		return strings.Fields(t.Access.Scope)
	}
	return t.Client.Scopes
}

// mintParams are the request's own parameters (RFC 6749 §4.4.2).
func (t Target) mintParams() url.Values {
	params := url.Values{"grant_type": {"client_credentials"}}
	if scopes := t.mintScopes(); len(scopes) > 0 {
		params.Set("scope", t.Client.JoinScopes(scopes))
	}
	if t.Access.Audience != "" {
		params.Set("audience", t.Access.Audience)
	} else if t.Client.Audience != "" {
		params.Set("audience", t.Client.Audience)
	}
	return params
}
