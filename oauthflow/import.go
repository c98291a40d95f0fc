package oauthflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Tokens are a connection's tokens in clear, on their way in or out. They print
// without their contents.
type Tokens struct {
	AccessToken  tokenstore.Secret
	RefreshToken tokenstore.Secret
	TokenType    string // empty: Bearer
	// ExpiresAt is when the access token ends, by this machine's clock; zero if
	// nobody knows.
	ExpiresAt time.Time
	Scopes    []string // granted; nil if nobody knows
	// Extra are the further members of the token reply: id_token, instance_url.
	Extra map[string]json.RawMessage
	// AccountID and AccountName are the provider's names for the connected account.
	AccountID   string
	AccountName string
}

// Format implements fmt.Formatter: Extra may hold secrets.
func (t Tokens) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "Tokens(access token: %t, refresh token: %t)", !t.AccessToken.IsZero(), !t.RefreshToken.IsZero())
}

// MarshalJSON implements json.Marshaler and leaves everything out.
func (t Tokens) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

// Imported are tokens that somebody else got, and who brings them here.
type Imported struct {
	Tokens
	Actor string // the host's user, for the history
	// Replace puts them in the place of what is connected, whoever's account that is.
	Replace bool
}

// Import stores tokens from elsewhere under t.Key, as if an account had been
// connected just now under the definition as it is. Nothing is sent: whether they
// work shows when they are used. From here on nobody else may refresh with them,
// since a provider that rotates gives each refresh token once.
//
// An access token that has ended is left out. What the definition asks for counts
// as requested, and an id_token in Extra says whose account it is where AccountID
// is empty. Errors are [ErrConnected] where something is connected and Replace is
// not set, *[ConnectionError] if the store fails, ctx's, or say what is wrong with
// the tokens.
func (m *Manager) Import(ctx context.Context, t Target, tok Imported) (*tokenstore.Connection, error) {
	if err := tok.check(t); err != nil {
		return nil, err
	}
	host, err := t.Client.TokenHost(t.EntityID, t.Values)
	if err != nil {
		return nil, err
	}
	now, obtained := time.Now(), startStopwatch()
	brought := &tokens{refresh: tok.RefreshToken, access: map[string]*accessToken{}, extra: cleanExtra(tok.Extra)}
	g := grant{
		id: uuid.NewString(), entityID: t.EntityID, clientID: t.Client.ClientID, tokenHost: host, fingerprint: t.Fingerprint,
		by: tok.Actor, requested: t.Client.Scopes, imported: true, replace: tok.Replace, anotherAccountOK: tok.Replace,
		received: received{refresh: !tok.RefreshToken.IsZero(), scopes: slices.Clone(tok.Scopes)},
	}
	if g.accountID, g.accountName = account(brought.extra); tok.AccountID != "" {
		g.accountID, g.accountName = scrubber{}.display(tok.AccountID, maxAccount), ""
	}
	if tok.AccountName != "" {
		g.accountName = scrubber{}.display(tok.AccountName, maxAccount)
	}
	if tok.usable(now) {
		kind, _ := readTokenType(nil)
		if tok.TokenType != "" && !strings.EqualFold(tok.TokenType, kind) {
			kind = tok.TokenType
		}
		brought.access[""] = &accessToken{secret: tok.AccessToken, kind: kind}
		g.access = true
		if !tok.ExpiresAt.IsZero() {
			g.lifetime = tok.ExpiresAt.Sub(now) // the store's clock may be another
		}
	}
	h := m.Handle(t.Key)
	storing := connecting{h: h, g: g, tok: brought, obtained: obtained}
	switch err := storing.try(ctx); {
	case err == nil:
		m.logger(t).InfoContext(ctx, "oauthflow: tokens imported", "user", tok.Actor)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrConnected):
		return nil, fmt.Errorf("%w: disconnect it first, or say that it is to be replaced", err)
	default:
		e := unreadable(t.Key, reasonStore, err)
		e.Message = "the token store did not confirm the import; look before you try again"
		return nil, e
	}
	if v := h.last.Load(); v != nil && v.conn.GrantID == g.id { // as it was written
		return v.conn.Clone(), nil
	}
	v, err := h.read(ctx)
	if err != nil {
		return nil, m.unread(ctx, t, err)
	}
	return v.conn.Clone(), nil
}

// usable reports whether there is an access token that has not ended.
func (t Tokens) usable(now time.Time) bool {
	return !t.AccessToken.IsZero() && (t.ExpiresAt.IsZero() || t.ExpiresAt.After(now))
}

// check reports what cannot be imported. No text of a token is in its errors.
func (t Tokens) check(target Target) error {
	switch {
	case target.Client == nil || target.Client.Flow == ClientCredentials:
		return errors.New("oauthflow: import: client credentials are minted when they are needed; there is nothing to import")
	case target.Access != Access{}:
		return errors.New("oauthflow: import: only the grant's own access token can be imported; leave Target.Access empty")
	case t.RefreshToken.IsZero() && t.AccessToken.IsZero():
		return errors.New("oauthflow: import: there is neither an access token nor a refresh token")
	case t.RefreshToken.IsZero() && !t.usable(time.Now()):
		return errors.New("oauthflow: import: the access token has expired, and there is no refresh token")
	}
	for _, part := range []struct{ name, text string }{
		{"access token", t.AccessToken.Reveal()}, {"refresh token", t.RefreshToken.Reveal()}, {"token type", t.TokenType},
	} {
		switch raw, err := json.Marshal(part.text); {
		case err != nil || len(part.text) > maxReply:
			return errors.New("oauthflow: import: the " + part.name + " is too long")
		default:
			if _, wrong := token(raw); wrong != "" {
				return errors.New("oauthflow: import: the " + part.name + " " + wrong)
			}
		}
	}
	for name, raw := range t.Extra {
		if !json.Valid(raw) {
			return fmt.Errorf("oauthflow: import: Extra[%q] is not JSON", name)
		}
	}
	return nil
}

// cleanExtra leaves out what has a place of its own, as with a token reply.
func cleanExtra(extra map[string]json.RawMessage) map[string]json.RawMessage {
	clean := make(map[string]json.RawMessage, len(extra))
	for name, raw := range extra {
		clean[name] = withoutRefreshTokens(bytes.TrimSpace(raw))
	}
	maps.DeleteFunc(clean, func(name string, _ json.RawMessage) bool {
		return slices.Contains([]string{"access_token", "refresh_token", "token_type", "expires_in", "expires_at", "scope"}, name)
	})
	return clean
}
