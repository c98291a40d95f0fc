package oauthflow

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Revocation says what became of the tokens at the provider after a disconnect.
type Revocation string

// The outcomes of a revocation.
const (
	// Revoked: the provider agreed to forget the grant.
	Revoked Revocation = "revoked"
	// RevocationUnsupported: the provider has no revocation endpoint (RFC 7009).
	RevocationUnsupported Revocation = "unsupported"
	// RevocationFailed: it could not be reached or refused; the person can remove
	// the access in their account there.
	RevocationFailed Revocation = "failed"
)

// reasonForgotten marks a disconnect in the history that revoked nothing.
const reasonForgotten = "forgotten"

// revokeLimit bounds how long a person waits for the provider to agree.
const revokeLimit = 5 * time.Second

// Disconnect removes a connection, and then asks the provider to revoke it. The
// removal does not depend on the provider; the answer says what it did. actor is
// who did it, for the history.
//
// A refresh under way does not bring the connection back; what it receives is
// revoked. Errors are *[ConnectionError] or ctx's.
func (m *Manager) Disconnect(ctx context.Context, t Target, actor string) (Revocation, error) {
	removed, err := m.remove(ctx, t, "", actor)
	if err != nil {
		return "", err
	}
	m.logger(t).InfoContext(ctx, "oauthflow: disconnected")
	if t.Client.Flow == ClientCredentials {
		return m.revokeSnapshots(context.WithoutCancel(ctx), t, m.mints.forget(t.Key)), nil
	}
	// The person's browser may go away; the provider is to be asked all the same.
	return m.revokeStored(context.WithoutCancel(ctx), t, removed), nil
}

// Forget removes a connection and says nothing to the provider, for tokens that
// were exported and are used elsewhere from here on. Errors are as Disconnect's.
func (m *Manager) Forget(ctx context.Context, t Target, actor string) error {
	if _, err := m.remove(ctx, t, reasonForgotten, actor); err != nil {
		return err
	}
	m.logger(t).InfoContext(ctx, "oauthflow: connection forgotten, without revoking it")
	return nil
}

// remove removes a connection and returns it as it was.
func (m *Manager) remove(ctx context.Context, t Target, reason, actor string) (*tokenstore.Connection, error) {
	var removed *tokenstore.Connection
	h := m.Handle(t.Key)
	_, err := h.update(ctx, func(c *tokenstore.Connection, _ time.Time) error {
		removed = c.Clone()
		return disconnect(c, reason, actor)
	})
	switch {
	case err == nil:
		return removed, nil
	case errors.Is(err, errMoved):
		return nil, h.NotConnected()
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	e := unreadable(t.Key, reasonStore, err)
	e.Message = "the token store did not confirm the removal; try again"
	return nil, e
}

// revokeStored asks the provider to forget what was stored in c.
func (m *Manager) revokeStored(ctx context.Context, t Target, c *tokenstore.Connection) Revocation {
	log := m.logger(t)
	tok, err := openTokens(ctx, m.cfg.Sealer, c)
	if err != nil {
		log.WarnContext(ctx, "oauthflow: the removed tokens could not be opened, so they were not revoked", "error", err)
		return RevocationFailed
	}
	// Tokens go only where they came from.
	if reason, err := Changed(c, t); err != nil || reason != "" {
		log.WarnContext(ctx, "oauthflow: not revoked, because the definition has changed since", "reason", reason, "error", err)
		return RevocationFailed
	}
	return m.revoke(ctx, t, tok)
}

// revokeSnapshots asks the provider to forget minted tokens.
func (m *Manager) revokeSnapshots(ctx context.Context, t Target, list []*Snapshot) Revocation {
	result := RevocationUnsupported
	for _, s := range list {
		if r := m.revoke(ctx, t, s.tok); result != RevocationFailed && r != RevocationUnsupported {
			result = r
		}
	}
	return result
}

// revoke asks the provider to forget tokens, the refresh token first: at most
// providers that ends the whole grant.
func (m *Manager) revoke(ctx context.Context, t Target, tok *tokens) Revocation {
	ctx, cancel := context.WithTimeout(ctx, revokeLimit)
	defer cancel()
	result := RevocationUnsupported
	one := func(token tokenstore.Secret, hint string) {
		if token.IsZero() {
			return
		}
		if t.Client.RevocationURL == "" {
			return
		}
		var err error
		m.request(ctx, t, RequestRevocation, false, func(ctx context.Context) error {
			err = m.requester.Revoke(ctx, RevocationRequest{
				Client: t.Client, EntityID: t.EntityID, Values: t.Values, Transport: t.Transport, Token: token, Hint: hint,
			})
			return err
		})
		switch {
		case err == nil:
			if result == RevocationUnsupported {
				result = Revoked
			}
		case !errors.Is(err, ErrNoRevocation):
			m.logger(t).WarnContext(ctx, "oauthflow: the provider did not revoke a token", "kind", hint, "error", err)
			result = RevocationFailed
		}
	}
	one(tok.refresh, "refresh_token")
	for _, slot := range slices.Sorted(maps.Keys(tok.access)) { // the grant's own first
		one(tok.access[slot].secret, "access_token")
	}
	return result
}
