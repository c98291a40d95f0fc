package oauthflow

import (
	"context"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Tokens that come when their connection is gone: an orphan that works, and of which
// nobody else knows.

// revokeLate revokes tokens that came from t too late.
func (m *Manager) revokeLate(t Target, list []revocable) {
	p, err := newRevocation(t, list)
	switch {
	case err != nil:
		m.logger(t).Warn("oauthflow: a token that came too late is not revoked, because the revocation URL cannot be built", "error", err)
	case p != nil:
		// It may be that the organization was deleted, and its history with it.
		p.quiet = true
		m.handBack(t, p)
	}
}

// handBack puts p into the tombstone, where it outlives this process, and sends it.
// While the store is away it is sent from memory, and stored if anything is left.
func (m *Manager) handBack(t Target, p *revocation) {
	m.within(func() {
		// Close has time for one request and for insisting once.
		ctx, cancel := context.WithTimeout(m.ctx, m.cfg.Timing.Record)
		defer cancel()
		log := m.logger(t)
		err := repeat(ctx, func(ctx context.Context) error { return m.bequeath(ctx, t.Key, p) })
		switch {
		case err == nil:
			m.revoke(t.Key, t.Transport, false)
			return
		case errors.Is(err, errMoved):
			log.Info("oauthflow: somebody has connected again; the older token is not revoked")
			return
		}
		log.Warn("oauthflow: what is to be revoked could not be stored; sending it from memory", "error", err)
		if p = m.revokeUnstored(t, p); p == nil {
			return
		}
		if errors.Is(err, errApart) {
			log.Warn("oauthflow: a token that came too late is not revoked; the person can remove the access in the account's settings there", "error", err)
			return
		}
		m.insist(t, func(ctx context.Context) error { return m.bequeath(ctx, t.Key, p) })
	})
}

// bequeath writes p into the tombstone, beside what stands there. errMoved: somebody
// has connected again.
func (m *Manager) bequeath(ctx context.Context, key tokenstore.Key, p *revocation) error {
	h, release := m.visitor(key)
	defer release()
	v, err := h.read(ctx)
	for err == nil {
		c := v.conn
		if c.Connected() {
			return errMoved
		}
		all := p
		if c.Revoking != nil {
			var stored *revocation
			if stored, err = openRevocation(ctx, m.cfg.Sealer, c); err != nil {
				return err
			}
			if all, err = stored.with(p); err != nil {
				return err
			}
		}
		var sealed []byte
		if sealed, err = all.seal(ctx, m.cfg.Sealer, key, c.Generation); err != nil {
			return err
		}
		next, failed := h.update(ctx, func(left *tokenstore.Connection, now time.Time) error {
			return remaining(left, now, c.Generation, c.Revoking, sealed, m.cfg.Timing.Attempt)
		})
		if !errors.Is(failed, errMoved) {
			return failed
		}
		v = next
	}
	return err
}

// revokeUnstored sends p once and returns what is left of it; nil if nothing is.
func (m *Manager) revokeUnstored(t Target, p *revocation) *revocation {
	through, refused := m.breakers.enter(p.breaker(t.Key), t.Key, false)
	if refused != nil {
		return p
	}
	defer through.leave()
	ctx, cancel := detached(m.cfg.Timing.Request)
	defer cancel()
	rest := p.after(m.sendRevocation(ctx, t.Key, p, t.Transport, through, func() bool { return true }))
	if len(rest.tokens) == 0 {
		return nil
	}
	return rest
}
