package oauthflow

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Revocation says, after a disconnect, what becomes of the tokens at the provider.
type Revocation string

// What becomes of them.
const (
	// RevocationPending: the provider is being asked to revoke them, and will be asked
	// again if need be; how it ends is in the history.
	RevocationPending Revocation = "pending"
	// RevocationUnsupported: the provider has no revocation endpoint (RFC 7009), or
	// there is nothing to revoke.
	RevocationUnsupported Revocation = "unsupported"
	// RevocationFailed: the tokens could not be opened, or the definition has changed
	// since they came, so that they may not be sent; the person can remove the access
	// in their account there.
	RevocationFailed Revocation = "failed"
)

// Reasons of a disconnect in the history.
const (
	reasonForgotten      = "forgotten" // nothing is revoked
	reasonDefinitionGone = "definition_gone"
)

// prepareLimit bounds how long a removal waits for the key service.
const prepareLimit = 5 * time.Second

// Disconnect removes a connection. What is to be revoked is written down in the same
// transaction and sent at once, but not waited for; if the provider is away, or this
// process ends, [Manager.KeepFresh] of any process asks again for a day, and says in
// the history what came of it: [EventRevoked], [EventRevocationFailed]. Whoever
// connects again first ends that, since at some providers the new grant would go with
// the old one. actor is who did it, for the history.
//
// A refresh under way does not bring the connection back; what it receives is revoked
// as well. Errors are *[ConnectionError] or ctx's.
func (m *Manager) Disconnect(ctx context.Context, t Target, actor string) (Revocation, error) {
	result, err := m.end(ctx, t, removal{actor: actor, revoke: true})
	if err != nil {
		return "", err
	}
	m.logger(t).InfoContext(ctx, "oauthflow: disconnected", "revocation", result)
	return result, nil
}

// Forget removes a connection and says nothing to the provider, for tokens that
// were exported and are used elsewhere from here on. Of a connection that is removed
// already it drops what is still to be revoked, if that does not open. Errors are as
// Disconnect's.
func (m *Manager) Forget(ctx context.Context, t Target, actor string) error {
	_, err := m.end(ctx, t, removal{reason: reasonForgotten, actor: actor})
	if errors.Is(err, ErrNotConnected) && m.drop(ctx, t, actor) == nil {
		m.logger(t).WarnContext(ctx, "oauthflow: dropped what was to be revoked and does not open; the person can remove the access in the account's settings there")
		return nil
	}
	if err != nil {
		return err
	}
	m.logger(t).InfoContext(ctx, "oauthflow: connection forgotten, without revoking it")
	return nil
}

// drop gives up what is still to be revoked of a removed connection, if it does not
// open. errMoved: there is no such thing.
func (m *Manager) drop(ctx context.Context, t Target, actor string) error {
	h := m.Handle(t.Key)
	c, err := m.cfg.Store.Load(ctx, t.Key)
	if err != nil {
		return err
	}
	if !revoking(c) {
		return errMoved
	}
	_, err = openRevocation(ctx, m.cfg.Sealer, c)
	if !errors.Is(err, tokenstore.ErrSealBroken) && !errors.Is(err, tokenstore.ErrUnknownKey) {
		return errMoved
	}
	_, err = h.update(ctx, func(now *tokenstore.Connection, _ time.Time) error {
		if !revoking(now) || now.Generation != c.Generation || !bytes.Equal(now.Revoking, c.Revoking) {
			return errMoved
		}
		now.Revoking, now.Failures = nil, 0
		now.DueAt, now.RetryAt, now.FirstFailureAt = time.Time{}, time.Time{}, time.Time{}
		now.Log(eventRevocationFailed, reasonForgotten, actor)
		return nil
	})
	if err == nil {
		m.counters.notRevoked.Add(1)
	}
	return err
}

// removal is how a connection is removed.
type removal struct {
	reason, actor string
	revoke        bool
	quiet         bool // what comes of revoking does not go into the history

	// The rest is of one try: it is sealed for the tombstone's generation.
	generation int64
	sealed     []byte        // what is to be revoked; nil if nothing is
	pause      time.Duration // until the background sees to that
	unsealed   *revocation   // it could not be sealed
	minted     []*Snapshot   // those that are in it
}

// end removes a connection, and begins to revoke it.
func (m *Manager) end(ctx context.Context, t Target, how removal) (Revocation, error) {
	result, err := m.remove(ctx, t, &how)
	if err == nil && m.ended(t, &how) {
		m.within(func() { m.revoke(t.Key, t.Transport, false) })
	}
	return result, err
}

// ended is to be called when a removal is committed. It reports whether the tombstone
// has something to be revoked.
func (m *Manager) ended(t Target, how *removal) bool {
	minted := m.mints.forget(t.Key)
	if how.unsealed != nil {
		m.handBack(t, how.unsealed)
	}
	if how.revoke { // those that came since
		m.revokeLate(t, mintedTokens(t, slices.DeleteFunc(minted, func(s *Snapshot) bool { return slices.Contains(how.minted, s) })))
	}
	return how.sealed != nil
}

// remove removes a connection.
func (m *Manager) remove(ctx context.Context, t Target, how *removal) (Revocation, error) {
	h := m.Handle(t.Key)
	// Not Handle.read: a restored backup is no reason not to disconnect.
	c, err := m.cfg.Store.Load(ctx, t.Key)
	for err == nil && c.Connected() {
		result := m.prepare(ctx, prepareLimit, t, c, how)
		if ctx.Err() != nil { // else it might be removed and not revoked
			return "", ctx.Err()
		}
		v, failed := h.update(ctx, func(c *tokenstore.Connection, now time.Time) error { return disconnect(c, now, *how) })
		switch {
		case failed == nil:
			return result, nil
		case errors.Is(failed, errMoved):
			c = v.conn
		default:
			err = failed
		}
	}
	switch {
	case err == nil:
		return "", h.NotConnected()
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	e := unreadable(t.Key, reasonStore, err)
	e.Message = "the token store did not confirm the removal; try again"
	return "", e
}

// prepare seals what is to be revoked once c is removed: the key service must not be
// asked within a transaction's step, and is asked for no longer than limit. Whatever
// goes wrong, the removal does not fail for it.
func (m *Manager) prepare(caller context.Context, limit time.Duration, t Target, c *tokenstore.Connection, how *removal) Revocation {
	how.generation, how.pause = c.Generation+1, m.cfg.Timing.Attempt
	how.sealed, how.unsealed, how.minted = nil, nil, nil
	if !how.revoke || t.Client == nil || t.Client.RevocationURL == "" {
		return RevocationUnsupported
	}
	ctx, cancel := context.WithTimeout(caller, limit)
	defer cancel()
	log := m.logger(t)
	var list []revocable
	if c.Sealed != nil {
		// Tokens go only where they came from.
		if reason, err := Changed(c, t); err != nil || reason != "" {
			log.WarnContext(ctx, "oauthflow: not revoked, because the definition has changed since", "reason", reason, "error", err)
			return RevocationFailed
		}
		tok, err := openTokens(ctx, m.cfg.Sealer, c)
		switch {
		case err == nil:
		case caller.Err() != nil:
			return RevocationFailed // nothing is removed then
		default:
			log.WarnContext(ctx, "oauthflow: the removed tokens cannot be opened, so they are not revoked", "error", err)
			return RevocationFailed
		}
		list = tok.revocable()
	}
	how.minted = m.mints.held(t.Key)
	list = append(list, mintedTokens(t, how.minted)...)
	p, err := newRevocation(t, list)
	switch {
	case err != nil:
		log.WarnContext(ctx, "oauthflow: not revoked, because the revocation URL cannot be built", "error", err)
		return RevocationFailed
	case p == nil:
		return RevocationUnsupported
	}
	p.quiet = how.quiet
	if how.sealed, err = p.seal(ctx, m.cfg.Sealer, t.Key, how.generation); err != nil {
		how.unsealed = p
	}
	return RevocationPending
}

// mintedTokens lists client credentials tokens that t's client has minted.
func mintedTokens(t Target, minted []*Snapshot) []revocable {
	var list []revocable
	for _, s := range minted {
		if reason, err := Changed(s.conn, t); err == nil && reason == "" {
			list = append(list, s.tok.revocable()...)
		}
	}
	return list
}
