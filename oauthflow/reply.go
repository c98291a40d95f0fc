package oauthflow

import (
	"encoding/json"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Reply is a token reply (RFC 6749 §5.1).
type Reply struct {
	AccessToken  tokenstore.Secret
	RefreshToken tokenstore.Secret // zero: the old one stays
	TokenType    string            // "Bearer" unless the provider said otherwise
	// Lifetime counts from just before the request was sent. 0: unknown;
	// negative: expired already. The provider's DefaultLifetime is applied.
	Lifetime time.Duration
	// ExpiresAt is the absolute expiry, only where Lifetime is 0 and the response
	// mapping names one; else zero.
	ExpiresAt time.Time
	Scopes    []string // granted; nil: the provider did not say
	// Extra holds the other members, id_token included, no refresh token.
	Extra      map[string]json.RawMessage
	ReceivedAt time.Time // this machine's clock
}
