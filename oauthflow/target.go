package oauthflow

import (
	"context"
	"errors"
	"net/http"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Target is everything a protocol run needs to know of one connection's
// configuration. Build it from your definitions, or let package integrations.
type Target struct {
	Key  tokenstore.Key
	Name string // the integration's name, for messages and logs
	// Client is shared and must not be changed.
	Client *Client
	// EntityID is the value of {entity_id}; empty if there is none.
	EntityID string
	// Values are of template variables other than entity_id; nil if there are none.
	Values map[string]string
	// RedirectURI is this definition's, absolute.
	RedirectURI string
	// Transport carries requests to this provider; nil means the manager's.
	Transport http.RoundTripper
	// Fingerprint stands for what a grant hangs on beside the entity, the client id
	// and the token URL. It is recorded with the grant, and another one is
	// "definition_changed". Empty: not compared.
	Fingerprint string
	// AllowAccountChange accepts that another external account connects where one
	// is connected already.
	AllowAccountChange bool
	// Access says which access token is meant; zero: the grant's own.
	Access Access
}

// Access is what an access token is for, where a provider has one per resource.
// The zero value is what the grant itself is for. Another one is asked for with the
// grant's refresh token and kept beside the others; of more than 32 per connection
// the one that was obtained longest ago is dropped.
type Access struct {
	Scope    string // as RFC 6749 §3.3 writes it: separated by single spaces; ≤ 2 KiB
	Audience string // the audience parameter, for providers that have it; ≤ 2 KiB
}

// ErrGone is what [Targets] say of a definition that is no more.
var ErrGone = errors.New("oauthflow: the definition is gone")

// Targets finds the target of a key, for runs that begin with a stored record:
// the callback, and refreshes nobody waits for.
type Targets interface {
	// Target returns [ErrGone], wrapped or not, if the definition is gone. Any other
	// error means that nobody knows at the moment. Where it answers from memory, a
	// method Confirm(context.Context, tokenstore.Key) error should say the same from
	// the store: a callback asks it before and after it stores a grant.
	Target(ctx context.Context, key tokenstore.Key) (Target, error)
}
