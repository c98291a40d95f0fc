package oauthflow

import (
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// The life of a grant: pure functions, like those in protocol.go.

// grant is a new authorization.
type grant struct {
	id string
	received
	entityID    string
	clientID    string
	tokenHost   string
	fingerprint string
	accountID   string
	accountName string
	by          string // the host's user
	requested   []string

	imported         bool // by no flow; refused where something is connected
	replace          bool // though something is connected
	anotherAccountOK bool
}

// errOtherAccount: somebody else's account is connected already.
var errOtherAccount = errors.New("oauthflow: another account is connected")

// supplants reports whether g would take the place of another account's grant that
// fits the definition. One that does not fit any more is of no use to anybody: in
// another tenant even the same person is another account.
func (g *grant) supplants(c *tokenstore.Connection) bool {
	fits := c.EntityID == g.entityID && c.ClientID == g.clientID && c.TokenHost == g.tokenHost
	return fits && c.AccountID != "" && g.accountID != "" && c.AccountID != g.accountID
}

// connect replaces whatever there was, unless that is another account's: the newer
// grant wins, and with the attempt goes every claim of a refresh under way, with the
// tombstone what was still to be revoked: some providers would end the new grant. The
// caller sealed for the generation after the one he saw; if that has risen
// meanwhile, he seals again.
func connect(c *tokenstore.Connection, now time.Time, g grant, ago time.Duration) error {
	if c.Generation != g.generation-1 {
		return errMoved
	}
	reason := ""
	switch {
	case c.Connected() && g.imported && !g.replace:
		return ErrConnected
	case c.Connected() && g.supplants(c) && !g.anotherAccountOK:
		return errOtherAccount
	case g.imported:
		reason = "imported"
	case c.Connected():
		reason = "reconnected"
	}
	given := revoking(c)
	*c = tokenstore.Connection{
		Key: c.Key, Version: c.Version, ReadAt: c.ReadAt, UpdatedAt: c.UpdatedAt,
		GrantID: g.id, EntityID: g.entityID, ClientID: g.clientID, TokenHost: g.tokenHost, Fingerprint: g.fingerprint,
		AccountID: g.accountID, AccountName: g.accountName,
		ConnectedBy: g.by, ConnectedAt: now, ScopesRequested: g.requested,
	}
	g.put(c, now, ago)
	if !g.access { // imported without one: it is to be got
		c.ObtainedAt, c.DueAt = time.Time{}, now
	}
	if given { // so that nobody takes the old grant for revoked
		c.Log(eventRevocationFailed, codeReconnected, "")
	}
	c.Log(eventConnected, reason, g.by)
	return nil
}

// disconnect leaves a tombstone: were the row deleted and the generation begun
// anew, a late reply of the old grant could pass for the new one's. With it goes what
// is to be revoked, sealed for the generation after the one that the caller saw; if
// that has risen meanwhile, he opens the newer tokens and seals again.
func disconnect(c *tokenstore.Connection, now time.Time, how removal) error {
	opened := how.sealed != nil || how.unsealed != nil
	if !c.Connected() || opened && c.Generation != how.generation-1 {
		return errMoved
	}
	*c = tokenstore.Connection{
		Key: c.Key, Version: c.Version, ReadAt: c.ReadAt, UpdatedAt: c.UpdatedAt,
		Generation: c.Generation + 1, Status: tokenstore.NotConnected, Revoking: how.sealed,
	}
	if c.Revoking != nil {
		c.DueAt = now.Add(how.pause)
	}
	c.Log(eventDisconnected, how.reason, how.actor)
	return nil
}

// Changed reports why a connection's grant no longer fits the definition it hangs
// on: [ReasonEntityChanged], [ReasonClientChanged] or [ReasonDefinitionChanged];
// empty if it fits. Fingerprints are compared where both sides have one. Nothing
// is sent for a grant that does not fit: tokens go only where they came from. An
// error says why the definition's URLs cannot be built.
func Changed(c *tokenstore.Connection, t Target) (string, error) {
	if !c.Connected() {
		return "", nil
	}
	host, err := t.Client.TokenHost(t.EntityID, t.Values)
	switch {
	case err != nil:
		return "", err
	case c.EntityID != t.EntityID:
		return ReasonEntityChanged, nil
	case c.ClientID != t.Client.ClientID:
		return ReasonClientChanged, nil
	case c.TokenHost != host, c.Fingerprint != t.Fingerprint && c.Fingerprint != "" && t.Fingerprint != "":
		return ReasonDefinitionChanged, nil
	}
	return "", nil
}

func changedReason(reason string) bool {
	return reason == ReasonEntityChanged || reason == ReasonClientChanged || reason == ReasonDefinitionChanged
}

// markChanged records that a grant does not fit its definition. A verdict of the
// provider's stands. It is looked at again now and then, since definitions are
// changed back.
func markChanged(c *tokenstore.Connection, now time.Time, reason string) error {
	if !c.Connected() || c.Reason == reason || c.Status == tokenstore.ReauthRequired && !changedReason(c.Reason) {
		return errMoved
	}
	c.LastError = &tokenstore.Failure{Code: reason, Message: changedMessage, At: now}
	giveUp(c, reason)
	if c.HasRefreshToken {
		c.DueAt = now.Add(changedPause)
	}
	return nil
}

// markPause keeps two processes with different definitions, as during a deploy,
// from writing against each other on every call.
const markPause = time.Minute

// unmarkChanged records that a grant fits its definition again.
func unmarkChanged(c *tokenstore.Connection, now time.Time, keepAlive time.Duration) error {
	if c.Status != tokenstore.ReauthRequired || !changedReason(c.Reason) || now.Sub(c.UpdatedAt) < markPause {
		return errMoved
	}
	heal(c)
	c.DueAt = nextVisit(c, true, keepAlive)
	c.Log(eventHealed, "", "")
	return nil
}
