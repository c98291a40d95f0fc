package oauthflow

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// What [tokenstore.Binding] calls the sealed parts of a record.
const (
	tokensField     = "tokens"     // Connection.Sealed
	revocationField = "revocation" // Connection.Revoking
)

// tokens is everything secret of one generation. It is sealed as a whole, so that
// no part can be moved to another generation. It is never changed once made.
type tokens struct {
	refresh tokenstore.Secret
	// access has one slot per scope and audience; "" is what the grant itself is for.
	// Pointers, because a map makes room for eight values at once, and most have one.
	access map[string]*accessToken
	extra  map[string]json.RawMessage
}

// accessToken is the content of one slot. It is never changed once made.
type accessToken struct {
	secret tokenstore.Secret
	kind   string // token_type
	// generation is the one it came with, which is not the one it is stored with
	// once another slot was renewed. Zero until it is sealed for the first time.
	generation int64
	// The rest is empty in slot "", whose times and scopes are in the record.
	obtained time.Time // store's clock
	expires  time.Time // store's clock; zero if nobody knows
	scopes   []string  // granted; nil if the provider did not say
	extra    map[string]json.RawMessage
}

// maxSlots bounds how many access tokens a connection keeps beside its own.
const maxSlots = 32

// sealedTokens is the form that is sealed. Byte slices, because JSON strings
// would mend what is not UTF-8.
type sealedTokens struct {
	Refresh []byte                     `json:"refresh_token,omitempty"`
	Access  map[string]sealedAccess    `json:"access,omitempty"`
	Extra   map[string]json.RawMessage `json:"extra,omitempty"`
}

// sealedAccess without a generation comes from before there were slots.
type sealedAccess struct {
	Token      []byte                     `json:"token"`
	Type       string                     `json:"type"`
	Generation int64                      `json:"generation,omitempty"`
	Obtained   time.Time                  `json:"obtained,omitzero"`
	Expires    time.Time                  `json:"expires,omitzero"`
	Scopes     []string                   `json:"scopes,omitzero"`
	Extra      map[string]json.RawMessage `json:"extra,omitempty"`
}

// merge returns the tokens after a reply for one slot. obtained is when it was
// asked for, by the store's clock. What a reply leaves out stays, as the refresh
// token does for a provider that does not rotate; the slot's own access token does
// not. The other slots stay with what is known of them.
func (t *tokens) merge(r *Reply, slot string, obtained time.Time) *tokens {
	next := &tokens{extra: map[string]json.RawMessage{}, access: map[string]*accessToken{}}
	if t != nil {
		next.refresh = t.refresh
		maps.Copy(next.extra, t.extra)
		maps.Copy(next.access, t.access)
	}
	if !r.RefreshToken.IsZero() {
		next.refresh = r.RefreshToken
	}
	delete(next.access, slot)
	if !r.AccessToken.IsZero() {
		a := &accessToken{secret: r.AccessToken, kind: r.TokenType}
		if slot != "" {
			a.obtained, a.expires = obtained, expiry(r, obtained)
			a.scopes, a.extra = r.Scopes, r.Extra
		}
		next.access[slot] = a
	}
	if slot == "" {
		maps.Copy(next.extra, r.Extra)
	}
	next.bound(slot, obtained)
	return next
}

// expiry is when a reply's access token ends; zero if nobody knows.
func expiry(r *Reply, obtained time.Time) time.Time {
	if r.ExpiresAt.IsZero() && r.Lifetime != 0 {
		return obtained.Add(r.Lifetime)
	}
	return r.ExpiresAt
}

// bound drops the slots that ended long before now, and of too many those that were
// obtained longest ago; but neither the grant's own nor keep.
func (t *tokens) bound(keep string, now time.Time) {
	maps.DeleteFunc(t.access, func(slot string, a *accessToken) bool {
		return slot != "" && slot != keep && !a.expires.IsZero() && now.Sub(a.expires) > arrivalPause && now.Sub(a.obtained) > arrivalPause
	})
	var others []string
	for slot := range t.access {
		if slot != "" && slot != keep {
			others = append(others, slot)
		}
	}
	room := maxSlots
	if keep != "" {
		room--
	}
	if len(others) <= room {
		return
	}
	slices.SortFunc(others, func(a, b string) int {
		return cmp.Or(t.access[a].obtained.Compare(t.access[b].obtained), cmp.Compare(a, b))
	})
	for _, slot := range others[:len(others)-room] {
		delete(t.access, slot)
	}
}

func (t *tokens) hash() []byte {
	sum := sha256.Sum256([]byte(t.refresh.Reveal()))
	return sum[:]
}

func (t *tokens) seal(ctx context.Context, s *tokenstore.Sealer, key tokenstore.Key, generation int64) ([]byte, error) {
	form := sealedTokens{Refresh: []byte(t.refresh.Reveal()), Extra: t.extra, Access: map[string]sealedAccess{}}
	for slot, a := range t.access {
		form.Access[slot] = sealedAccess{
			Token: []byte(a.secret.Reveal()), Type: a.kind, Generation: cmp.Or(a.generation, generation),
			Obtained: a.obtained, Expires: a.expires, Scopes: a.scopes, Extra: a.extra,
		}
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
	t := &tokens{refresh: tokenstore.NewSecret(string(form.Refresh)), extra: form.Extra, access: make(map[string]*accessToken, len(form.Access))}
	for slot, a := range form.Access {
		t.access[slot] = &accessToken{
			secret: tokenstore.NewSecret(string(a.Token)), kind: a.Type, generation: cmp.Or(a.Generation, c.Generation),
			obtained: a.Obtained, expires: a.Expires, scopes: a.Scopes, extra: a.Extra,
		}
	}
	return t, nil
}

// sameTokens reports whether two records hold the same sealed tokens, so that
// opening one is enough.
func sameTokens(a, b *tokenstore.Connection) bool {
	return a.GrantID == b.GrantID && a.Generation == b.Generation && bytes.Equal(a.Sealed, b.Sealed)
}
