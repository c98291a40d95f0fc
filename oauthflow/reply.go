package oauthflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Reply is a token reply (RFC 6749 §5.1), read. It prints without its contents.
type Reply struct {
	AccessToken tokenstore.Secret
	// RefreshToken is the new one; zero: the old one stays.
	RefreshToken tokenstore.Secret
	// TokenType is "Bearer" unless the provider said something else.
	TokenType string
	// Lifetime counts from just before the request was sent. Zero: unknown;
	// negative: expired already. Provider.DefaultLifetime has been applied.
	Lifetime time.Duration
	// ExpiresAt is the absolute expiry by the provider's clock, where the response
	// mapping names one and Lifetime is zero; else zero.
	ExpiresAt time.Time
	// Scopes are those granted, in the provider's order. Nil: it did not say,
	// which means as asked for (RFC 6749 §5.1); empty: none.
	Scopes []string
	// Extra holds the reply's other members as they came: id_token, instance_url.
	// Refresh tokens are taken out at any depth, the access token where it stood.
	Extra map[string]json.RawMessage
	// ReceivedAt is when the reply had been read, by this machine's clock.
	ReceivedAt time.Time
}

// Format implements fmt.Formatter: Extra may hold secrets.
func (r Reply) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "Reply(%s, lifetime: %v, refresh token: %t)", r.TokenType, r.Lifetime, !r.RefreshToken.IsZero())
}

// LogValue implements slog.LogValuer.
func (r Reply) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// MarshalJSON implements json.Marshaler and leaves everything out.
func (r Reply) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

// members reads the body as far as it can be understood.
func (a *answer) members() members {
	m, err := decodeMembers(a.body, a.broken != nil)
	if a.broken == nil && !errors.Is(err, errNotObject) {
		a.broken = err
	}
	return m
}

// read makes a reply of the answer. With a refresh token beside an unusable
// access token it returns both a reply and an error.
func (a *answer) read(c *Client) (*Reply, *TokenError) {
	m := a.members()
	if a.status < 200 || a.status > 299 {
		return nil, a.failure(c, m)
	}
	root, paths := m, c.Response.paths()
	if c.Response.Root != "" {
		root, _ = object(m.at(c.Response.Root))
	}

	access, wrong := token(root.at(paths.AccessToken))
	refresh, wrongRefresh := token(root.at(paths.RefreshToken))
	tokenType, wrongType := readTokenType(root["token_type"])
	switch {
	case wrong == "" && access == "":
		wrong = "it has no access token"
	case wrong != "":
		wrong = "its access token " + wrong
	case wrongRefresh != "":
		wrong = "its refresh token " + wrongRefresh
	case wrongType != "":
		wrong = wrongType
	}

	if (wrong != "" || a.broken != nil) && refresh == "" {
		if e := a.refusal(c, m, root); e != nil {
			return nil, e
		}
		return nil, a.unusable(m, wrong)
	}
	r := &Reply{
		RefreshToken: tokenstore.NewSecret(refresh),
		Scopes:       readScopes(root.at(paths.Scope)),
		Extra:        m.extra(c.Response.Root, paths),
		ReceivedAt:   a.receivedAt,
	}
	if wrong != "" || a.broken != nil {
		return r, a.unusable(m, wrong)
	}
	r.AccessToken, r.TokenType = tokenstore.NewSecret(access), tokenType
	r.Lifetime = lifetime(root.at(paths.ExpiresIn))
	if r.Lifetime == 0 && paths.ExpiresAt != "" {
		r.ExpiresAt = absoluteExpiry(root.at(paths.ExpiresAt))
	}
	if r.Lifetime == 0 && r.ExpiresAt.IsZero() {
		r.Lifetime = c.DefaultLifetime
	}
	return r, nil
}

// paths returns the mapping with RFC 6749's names where it is silent.
func (r ResponseMapping) paths() ResponseMapping {
	for _, p := range []struct {
		path *string
		name string
	}{
		{&r.AccessToken, "access_token"},
		{&r.RefreshToken, "refresh_token"},
		{&r.Scope, "scope"},
		{&r.ExpiresIn, "expires_in"},
	} {
		if *p.path == "" {
			*p.path = p.name
		}
	}
	return r
}

// token reads a token. wrong says what is wrong with it, never what it is;
// absent, null and "" are no token and nothing wrong.
func token(raw json.RawMessage) (tok, wrong string) {
	if isNothing(raw) {
		return "", ""
	}
	tok, ok := text(raw)
	switch {
	case !ok:
		return "", "is not a string"
	case strings.ContainsFunc(tok, unicode.IsControl):
		return "", "has control characters"
	case strings.ContainsRune(tok, unicode.ReplacementChar): // the decoder's, for what was no Unicode
		return "", "is not Unicode text"
	}
	return tok, ""
}

// readTokenType normalizes Bearer's case, and takes what is no string for it: the
// token may be fine all the same.
func readTokenType(raw json.RawMessage) (tokenType, wrong string) {
	tokenType, _ = text(raw)
	switch {
	case strings.ContainsFunc(tokenType, unicode.IsControl):
		return "", "its token_type has control characters"
	case len(tokenType) > 100:
		return "", "its token_type is too long"
	}
	if tokenType = strings.TrimSpace(tokenType); tokenType == "" || strings.EqualFold(tokenType, "bearer") {
		return "Bearer", ""
	}
	return tokenType, ""
}

// readScopes reads a list of scopes: separated by spaces or commas, or an array.
func readScopes(raw json.RawMessage) []string {
	var lists []string
	if s, ok := text(raw); ok {
		lists = []string{s}
	} else if len(raw) == 0 || raw[0] != '[' {
		return nil
	} else {
		var items []json.RawMessage
		_ = json.Unmarshal(raw, &items) // raw was decoded once, it is valid
		for _, item := range items {
			s, _ := text(item)
			lists = append(lists, s)
		}
	}
	scopes, seen := []string{}, make(map[string]bool)
	for _, list := range lists {
		for _, s := range strings.FieldsFunc(list, func(r rune) bool { return unicode.IsSpace(r) || r == ',' }) {
			if !seen[s] && !strings.ContainsFunc(s, unicode.IsControl) {
				scopes, seen[s] = append(scopes, s), true
			}
		}
	}
	return scopes
}

// extra returns the members that were not read, by their place in the reply.
func (m members) extra(root string, paths ResponseMapping) map[string]json.RawMessage {
	extra := make(members, len(m))
	for name, raw := range m {
		if !strings.HasSuffix(name, "[refresh_token]") { // a form's way to nest
			extra[name] = withoutRefreshTokens(raw)
		}
	}
	if root != "" {
		root += "."
	}
	for _, path := range []string{"token_type", paths.AccessToken, paths.Scope, paths.ExpiresIn, paths.ExpiresAt, paths.RefreshToken} {
		if path != "" {
			extra.without(root + path)
		}
	}
	delete(extra, "refresh_token")
	return extra
}

// withoutRefreshTokens takes members named refresh_token out of a value, at any
// depth: Extra is shown to code that may not see them, and a reply can hold the
// ones of other grants (Slack's bot token beside the user's).
func withoutRefreshTokens(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || (raw[0] != '{' && raw[0] != '[') {
		return raw
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var value any
	if dec.Decode(&value) != nil || !dropRefreshTokens(value) {
		return raw
	}
	clean, err := json.Marshal(value)
	if err != nil {
		return json.RawMessage("null")
	}
	return clean
}

func dropRefreshTokens(value any) (dropped bool) {
	switch v := value.(type) {
	case map[string]any:
		if _, ok := v["refresh_token"]; ok {
			delete(v, "refresh_token")
			dropped = true
		}
		for _, inner := range v {
			dropped = dropRefreshTokens(inner) || dropped
		}
	case []any:
		for _, inner := range v {
			dropped = dropRefreshTokens(inner) || dropped
		}
	}
	return dropped
}

// unusable is the error for a 2xx reply whose tokens cannot be used: the request
// was processed or not, only the provider knows.
func (a *answer) unusable(m members, wrong string) *TokenError {
	e := a.basic(ClassUnknown)
	switch {
	case a.broken != nil:
		e.Detail, e.Err = "the token reply is broken", a.broken
		if errors.Is(a.broken, io.ErrUnexpectedEOF) {
			e.Detail = "the token reply breaks off"
		}
	case m == nil:
		e.Detail = "the reply is no token reply"
	default:
		e.Detail = "the token reply is not usable: " + wrong
	}
	e.Detail += ", it has media type " + a.mediaType() // {"foo":1} may be anybody's page
	return e
}
