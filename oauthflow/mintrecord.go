package oauthflow

import (
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// What the record says about minted tokens: pure functions, like those in
// protocol.go. The tokens themselves are never stored.

// eventMinted is the first token of a client; later ones are no news.
const eventMinted = "minted"

// mintRecord is an outcome of a client credentials request.
type mintRecord struct {
	received    // of the token; empty after a failure
	grant       string
	entityID    string
	clientID    string
	tokenHost   string
	fingerprint string
	requested   []string
}

// stamp makes the record one of this client in this tenant, and reports whether it
// was not.
func (r mintRecord) stamp(c *tokenstore.Connection, now time.Time) bool {
	c.ScopesRequested = r.requested
	if c.Connected() && c.EntityID == r.entityID && c.ClientID == r.clientID &&
		c.TokenHost == r.tokenHost && c.Fingerprint == r.fingerprint {
		return false
	}
	*c = tokenstore.Connection{
		Key: c.Key, Version: c.Version, ReadAt: c.ReadAt, UpdatedAt: c.UpdatedAt,
		Generation: c.Generation, GrantID: r.grant, ConnectedAt: now, ScopesRequested: r.requested,
		EntityID: r.entityID, ClientID: r.clientID, TokenHost: r.tokenHost, Fingerprint: r.fingerprint,
	}
	return true
}

// recordMint records that a token was minted, ago before now. A grant of another
// kind stays, with its tokens: a definition that was changed by mistake is changed
// back, and nobody else knows of them.
func recordMint(c *tokenstore.Connection, now time.Time, r mintRecord, ago time.Duration) error {
	if c.Sealed != nil {
		return errMoved
	}
	first := r.stamp(c, now) || c.LastRefreshAt.IsZero()
	failing := c.Status == tokenstore.Degraded
	r.generation, r.access, r.sealed = c.Generation, false, nil
	r.put(c, now, ago)
	c.LastRefreshAt = now
	switch {
	case first:
		c.Log(eventMinted, "", "")
	case failing && c.Status == tokenstore.Active:
		c.Log(eventHealed, "", "")
	}
	return nil
}

// recordMintFailure records that a token could not be minted.
func recordMintFailure(c *tokenstore.Connection, now time.Time, r mintRecord, f failure) error {
	if c.Sealed != nil {
		return errMoved
	}
	r.stamp(c, now)
	noteFailure(c, now, f)
	return nil
}

// noteFailure says why there is no token, and when to try again. Only the provider
// and whoever runs the server can mend it, so there is no reauth_required.
func noteFailure(c *tokenstore.Connection, now time.Time, f failure) {
	count(c, now, f)
	c.Status, c.Reason = tokenstore.Degraded, string(f.class)
}
