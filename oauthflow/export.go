package oauthflow

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Export returns a connection's tokens, the refresh token with them, for taking
// them elsewhere, and puts that into the history. actor is who asked for them.
//
// Two who hold a rotating refresh token take it from each other: from here on let
// only one of them renew, and do not disconnect, which revokes it. While a refresh
// is under way or its outcome is unknown nobody knows which token works: Export
// waits for this process's own, and else its error is ErrUnavailable. Errors are
// *[ConnectionError] or ctx's.
func (m *Manager) Export(ctx context.Context, t Target, actor string) (*Tokens, error) {
	h := m.Handle(t.Key)
	for {
		if err := h.settle(ctx); err != nil {
			return nil, err
		}
		v, err := h.read(ctx)
		if err != nil {
			return nil, m.unread(ctx, t, err)
		}
		if err := h.exportable(v); err != nil {
			return nil, err
		}
		_, err = h.update(ctx, func(c *tokenstore.Connection, _ time.Time) error {
			if c.GrantID != v.conn.GrantID || c.Generation != v.conn.Generation || unsettled(c) {
				return errMoved
			}
			c.Log(eventExported, "", actor)
			return nil
		})
		switch {
		case err == nil:
			m.logger(t).WarnContext(ctx, "oauthflow: tokens exported", "user", actor)
			return v.export(), nil
		case !errors.Is(err, errMoved):
			return nil, m.unread(ctx, t, err)
		}
	}
}

// settle waits until no refresh of this process is under way.
func (h *Handle) settle(ctx context.Context) error {
	for {
		h.mu.Lock()
		f := h.flight
		h.mu.Unlock()
		if f == nil {
			return ctx.Err()
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// exportable reports why v's tokens are of no use elsewhere.
func (h *Handle) exportable(v *view) error {
	c := v.conn
	switch u := h.unsaved.Load(); {
	case !c.Connected() || c.Sealed == nil:
		return h.NotConnected()
	case c.Status == tokenstore.ReauthRequired && !changedReason(c.Reason):
		return v.problem(decision{step: reauth}, nil)
	case u != nil && u.p.on(c):
		return unreadable(h.key, reasonUnsaved, nil)
	case unsettled(c):
		e := v.problem(decision{}, nil)
		e.Reason, e.Message = reasonBusy, "a refresh is under way, or its outcome is unknown, so nobody knows which refresh token works; "+
			"export again when the connection has been renewed"
		return e
	case v.err != nil:
		return unreadable(h.key, reasonSealed, v.err)
	}
	return nil
}

// unsettled reports whether c's refresh token may be spent already.
func unsettled(c *tokenstore.Connection) bool {
	return c.Attempt != nil && c.Attempt.Generation == c.Generation
}

func (v *view) export() *Tokens {
	t := &Tokens{
		RefreshToken: v.tok.refresh, Extra: maps.Clone(v.tok.extra), Scopes: slices.Clone(v.conn.ScopesGranted),
		AccountID: v.conn.AccountID, AccountName: v.conn.AccountName,
	}
	if s := v.snap; s != nil {
		t.AccessToken, t.TokenType, t.ExpiresAt = s.AccessToken(), s.TokenType(), s.ExpiresAt()
	}
	return t
}
