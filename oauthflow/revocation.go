package oauthflow

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// revocation is what is to be revoked of a grant that was removed (RFC 7009), with
// everything that takes: when it is sent, the definition may be gone, and the
// organization with it. It stands sealed in the tombstone, bound to its generation.
type revocation struct {
	name   string // the integration's, for logs
	client *Client
	// restricted says that it may not go by the manager's transport: see
	// [Config].Restricted.
	restricted bool
	tokens     []revocable // in the order in which they are to be sent
	accepted   bool        // the provider has revoked one already
	refusals   int         // in a row, each of which looked final
	quiet      bool        // the outcome does not go into the history
}

// revocable is one token and what kind it is (RFC 7009 §2.1, token_type_hint).
type revocable struct {
	secret tokenstore.Secret
	hint   string
}

// sealedRevocation is the form that is sealed; see [sealedTokens].
type sealedRevocation struct {
	Version      int               `json:"v"`
	Name         string            `json:"name,omitempty"`
	URL          string            `json:"url"`
	ClientID     []byte            `json:"client_id"`
	ClientSecret []byte            `json:"client_secret,omitempty"`
	ClientAuth   ClientAuth        `json:"client_auth,omitempty"`
	Restricted   bool              `json:"restricted,omitempty"`
	Tokens       []sealedRevocable `json:"tokens"`
	Accepted     bool              `json:"accepted,omitempty"`
	Refusals     int               `json:"refusals,omitempty"`
	Quiet        bool              `json:"quiet,omitempty"`
}

type sealedRevocable struct {
	Token []byte `json:"token"`
	Hint  string `json:"hint,omitempty"`
}

const revocationVersion = 1

// revoking reports whether something is still to be revoked of a removed grant. Where
// there is a grant again, nothing is: at some providers that would end the new one.
func revoking(c *tokenstore.Connection) bool { return !c.Connected() && c.Revoking != nil }

// newRevocation is what has to be asked of t's provider to revoke a list of tokens;
// nil if there is nothing to ask, or nowhere. The error is a *[TemplateError].
func newRevocation(t Target, list []revocable) (*revocation, error) {
	if t.Client == nil || t.Client.RevocationURL == "" || len(list) == 0 {
		return nil, nil
	}
	endpoint, err := t.Client.endpoint("RevocationURL", withEntity(t.EntityID, t.Values))
	if err != nil {
		return nil, err
	}
	return &revocation{
		name: t.Name, client: revocationClient(endpoint, t.Client.ClientID, t.Client.ClientSecret, t.Client.ClientAuth),
		restricted: t.Transport != nil, tokens: list,
	}, nil
}

func revocationClient(endpoint, id string, secret tokenstore.Secret, auth ClientAuth) *Client {
	return &Client{Provider: Provider{RevocationURL: endpoint, ClientAuth: auth}, ClientID: id, ClientSecret: secret}
}

// revocable lists tokens in the order in which they are to be revoked: the refresh
// token first, because at most providers that ends the whole grant.
func (t *tokens) revocable() []revocable {
	var list []revocable
	if !t.refresh.IsZero() {
		list = append(list, revocable{t.refresh, "refresh_token"})
	}
	for _, slot := range slices.Sorted(maps.Keys(t.access)) { // the grant's own first
		list = append(list, revocable{t.access[slot].secret, "access_token"})
	}
	return list
}

// target is where and as whom p is sent.
func (p *revocation) target(key tokenstore.Key) Target {
	return Target{Key: key, Name: p.name, Client: p.client}
}

// breaker returns the key for requests like p.
func (p *revocation) breaker(key tokenstore.Key) breakerKey {
	return breakerKey{
		definition: key.Definition, tokenURL: p.client.RevocationURL, clientID: p.client.ClientID,
		secret: sha256.Sum256([]byte(string(p.client.ClientAuth) + "\x00" + p.client.ClientSecret.Reveal())),
	}
}

// without returns p without the tokens that are done.
func (p *revocation) without(done []revocable) *revocation {
	next := *p
	next.tokens = slices.DeleteFunc(slices.Clone(p.tokens), func(r revocable) bool { return contains(done, r) })
	return &next
}

// errApart: tokens go only where they came from, and these came from two places.
var errApart = errors.New("oauthflow: what is still to be revoked of the connection belongs to another endpoint or client")

// with returns p with the tokens of another one that p lacks.
func (p *revocation) with(other *revocation) (*revocation, error) {
	a, b := p.client, other.client
	if a.RevocationURL != b.RevocationURL || a.ClientID != b.ClientID || a.ClientAuth != b.ClientAuth ||
		!a.ClientSecret.Equal(b.ClientSecret) || p.restricted != other.restricted {
		return nil, errApart
	}
	next := *p
	next.tokens = slices.Clone(p.tokens)
	for _, r := range other.tokens {
		if !contains(next.tokens, r) {
			next.tokens = append(next.tokens, r)
		}
	}
	return &next, nil
}

func contains(list []revocable, r revocable) bool {
	return slices.ContainsFunc(list, func(other revocable) bool { return other.secret.Equal(r.secret) })
}

func (p *revocation) seal(ctx context.Context, s *tokenstore.Sealer, key tokenstore.Key, generation int64) ([]byte, error) {
	form := sealedRevocation{
		Version: revocationVersion, Name: p.name, URL: p.client.RevocationURL,
		ClientID: []byte(p.client.ClientID), ClientSecret: []byte(p.client.ClientSecret.Reveal()), ClientAuth: p.client.ClientAuth,
		Restricted: p.restricted, Accepted: p.accepted, Refusals: p.refusals, Quiet: p.quiet,
	}
	for _, r := range p.tokens {
		form.Tokens = append(form.Tokens, sealedRevocable{[]byte(r.secret.Reveal()), r.hint})
	}
	text, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("oauthflow: encode what is to be revoked: %w", err)
	}
	return s.Seal(ctx, text, tokenstore.Binding{Key: key, Field: revocationField, Generation: generation})
}

func openRevocation(ctx context.Context, s *tokenstore.Sealer, c *tokenstore.Connection) (*revocation, error) {
	text, err := s.Open(ctx, c.Revoking, tokenstore.Binding{Key: c.Key, Field: revocationField, Generation: c.Generation})
	if err != nil {
		return nil, err
	}
	var form sealedRevocation
	if json.Unmarshal(text, &form) != nil || form.Version != revocationVersion {
		// The decoder's error may quote the text.
		return nil, errors.New("oauthflow: what is to be revoked has a form that this version does not know")
	}
	p := &revocation{
		name:       form.Name,
		client:     revocationClient(form.URL, string(form.ClientID), tokenstore.NewSecret(string(form.ClientSecret)), form.ClientAuth),
		restricted: form.Restricted, accepted: form.Accepted, refusals: form.Refusals, quiet: form.Quiet,
	}
	for _, r := range form.Tokens {
		p.tokens = append(p.tokens, revocable{tokenstore.NewSecret(string(r.Token)), r.Hint})
	}
	return p, nil
}
