package oauthflow

import (
	"context"

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
	// RedirectURI is this definition's, absolute.
	RedirectURI string
}

// Targets finds the target of a key, for runs that begin with a stored record:
// the callback, and refreshes nobody waits for.
type Targets interface {
	// Target returns an error if the definition is gone.
	Target(ctx context.Context, key tokenstore.Key) (Target, error)
}
