package oauthflow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// tokensField is what [tokenstore.Binding] calls the sealed tokens.
const tokensField = "tokens"

// tokens is everything secret of one generation. It is sealed as a whole, so that
// no part can be moved to another generation. It is never changed once made.
type tokens struct {
	refresh tokenstore.Secret
	// access has one slot per scope and audience; "" is what the grant itself is for.
	access map[string]accessToken
	extra  map[string]json.RawMessage
}

type accessToken struct {
	secret tokenstore.Secret
	kind   string // token_type
}

// sealedTokens is the form that is sealed. Byte slices, because JSON strings
// would mend what is not UTF-8.
type sealedTokens struct {
	Refresh []byte                     `json:"refresh_token,omitempty"`
	Access  map[string]sealedAccess    `json:"access,omitempty"`
	Extra   map[string]json.RawMessage `json:"extra,omitempty"`
}

type sealedAccess struct {
	Token []byte `json:"token"`
	Type  string `json:"type"`
}

// merge returns the tokens after a reply. What a reply leaves out stays, as the
// refresh token does for a provider that does not rotate; an access token does
// not.
func (t *tokens) merge(r *Reply) *tokens {
	next := &tokens{extra: map[string]json.RawMessage{}}
	if t != nil {
		next.refresh = t.refresh
		maps.Copy(next.extra, t.extra)
	}
	maps.Copy(next.extra, r.Extra)
	if !r.RefreshToken.IsZero() {
		next.refresh = r.RefreshToken
	}
	if !r.AccessToken.IsZero() {
		next.access = map[string]accessToken{"": {r.AccessToken, r.TokenType}}
	}
	return next
}

func (t *tokens) hash() []byte {
	sum := sha256.Sum256([]byte(t.refresh.Reveal()))
	return sum[:]
}

func (t *tokens) seal(ctx context.Context, s *tokenstore.Sealer, key tokenstore.Key, generation int64) ([]byte, error) {
	form := sealedTokens{Refresh: []byte(t.refresh.Reveal()), Extra: t.extra, Access: map[string]sealedAccess{}}
	for slot, a := range t.access {
		form.Access[slot] = sealedAccess{[]byte(a.secret.Reveal()), a.kind}
	}
	text, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("oauthflow: encode tokens: %w", err)
	}
	return s.Seal(ctx, text, tokenstore.Binding{Key: key, Field: tokensField, Generation: generation})
}

func openTokens(ctx context.Context, s *tokenstore.Sealer, c *tokenstore.Connection) (*tokens, error) {
	text, err := s.Open(ctx, c.Sealed, tokenstore.Binding{Key: c.Key, Field: tokensField, Generation: c.Generation})
	if err != nil {
		return nil, err
	}
	var form sealedTokens
	if json.Unmarshal(text, &form) != nil {
		// The decoder's error may quote the text.
		return nil, fmt.Errorf("oauthflow: the sealed tokens of generation %d have a form this version does not know", c.Generation)
	}
	t := &tokens{refresh: tokenstore.NewSecret(string(form.Refresh)), extra: form.Extra, access: map[string]accessToken{}}
	for slot, a := range form.Access {
		t.access[slot] = accessToken{tokenstore.NewSecret(string(a.Token)), a.Type}
	}
	return t, nil
}

// sameTokens reports whether two records hold the same sealed tokens, so that
// opening one is enough.
func sameTokens(a, b *tokenstore.Connection) bool {
	return a.GrantID == b.GrantID && a.Generation == b.Generation && bytes.Equal(a.Sealed, b.Sealed)
}
