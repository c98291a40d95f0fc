package oauthflow

import (
	"context"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// AnyGeneration makes [Manager.Renew] renew whatever is stored.
const AnyGeneration int64 = -1

// Token returns a usable access token, renewing it first if it has ended. If it
// is only about to end, it is renewed beside, and a failure of that is no error.
//
// Errors are *[ConnectionError] or ctx's: each caller waits no longer than his own
// context, while the refresh, once it was sent, goes on without him. It works
// without Run, but then reads the record each time.
//
// With t.Access it is about the access token for that scope and audience, which is
// got with the grant's refresh token. If the provider refuses that scope alone, the
// connection stays as it is: the error is ErrUnavailable and names the scope, and
// for a while nothing more is sent for it. A connection without a refresh token
// cannot have such tokens.
func (m *Manager) Token(ctx context.Context, t Target) (*Snapshot, error) {
	if t.Client.Flow == ClientCredentials {
		return m.minted(t).token(ctx, t, want{})
	}
	return m.token(ctx, t, want{slot: t.Access.slot()})
}

// Renew returns an access token of a later generation than rejected, which an API
// has answered with 401. If the store has one already, nothing is sent, so a
// hundred parallel 401s make one refresh. The old token is never returned.
//
// With [AnyGeneration] it renews now, for a person who asks: although the token is
// good, and although earlier failures ask for a pause. Calls at the same time still
// share one refresh.
func (m *Manager) Renew(ctx context.Context, t Target, rejected int64) (*Snapshot, error) {
	if t.Client.Flow == ClientCredentials {
		return m.minted(t).renew(ctx, t, rejected)
	}
	slot := t.Access.slot()
	if rejected >= 0 {
		return m.token(ctx, t, want{slot: slot, generation: rejected, rejected: true})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v, err := m.Handle(t.Key).read(ctx)
	if err != nil {
		return nil, m.unread(ctx, t, err)
	}
	return m.token(ctx, t, want{slot: slot, generation: v.tok.born(v.conn, slot), force: true})
}

func (m *Manager) token(ctx context.Context, t Target, w want) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := t.Access.Validate(); err != nil {
		return nil, unreadable(t.Key, reasonAccess, err)
	}
	h, rules := m.Handle(t.Key), rulesOf(m.cfg.Timing, &t.Client.Provider)
	h.touch(time.Now())
	for {
		v, err := h.consult(ctx, t, w)
		if err != nil {
			return m.offline(ctx, h, t, w, err)
		}
		if err := m.fits(ctx, h, v, t); err != nil {
			return nil, err
		}
		if m.walking.Load() && claimable(v.conn, v.now(), m.cfg.KeepAlive) {
			m.claim(t.Key)
		}
		if u := h.unsaved.Load(); u != nil && u.p.on(v.conn) {
			return u.token(w)
		}
		d := rules.decide(v.conn, v.now(), w.about(v.conn, v.tok))
		why, paused := h.paused(v, w)
		if !paused && (d.step == begin || d.step == takeOver) {
			why, paused = m.blocked(t, v, w)
		}
		serves := d.usable && !w.force
		switch {
		case d.step == disconnected || d.step == reauth || d.step == cool || d.step == expire && w.slot != "":
			return nil, v.without(d, t.Access, nil)
		case v.err != nil:
			return nil, unreadable(t.Key, reasonSealed, v.err)
		case d.step == serve || serves && paused:
			return v.snapshot(w.slot), nil
		case serves:
			return h.renewBeside(ctx, t, w, v.snapshot(w.slot))
		case paused:
			return nil, why
		}
		f := h.join(t, w, false)
		s, err := f.wait(ctx, w.slot)
		switch {
		case ctx.Err() != nil && f.want.slot != w.slot:
			return nil, ctx.Err()
		case f.want.covers(w) || f.want.slot == w.slot && err == nil && s.Generation() > w.generation || ctx.Err() != nil:
			return s, err
		}
		// Somebody else's flight, which was after less than this: another round.
	}
}

// blocked reports whether t's endpoint must be left alone now, and the error for
// it.
func (m *Manager) blocked(t Target, v *view, w want) (*ConnectionError, bool) {
	if key, err := refreshBreaker(t); err == nil { // else the flight says so
		if refused := m.breakers.ask(key, w.force); refused != nil {
			return refused.error(t.Key, v.conn.Status), true
		}
	}
	return nil, false
}

// covers reports whether a flight for w does what other wants.
func (w want) covers(other want) bool {
	return w.slot == other.slot && (!other.rejected && !other.force || w == other)
}

// renewBeside starts a refresh of a token that is still good, and returns that
// token. Only in its very last moments does it wait a little for the new one:
// a token that ends on its way to the API is of little use.
func (h *Handle) renewBeside(ctx context.Context, t Target, w want, s *Snapshot) (*Snapshot, error) {
	f := h.join(t, w, true)
	if s.outlast(ctx, f.done) && f.err == nil && f.want.slot == w.slot {
		return f.snap, nil
	}
	return s, nil
}

// outlast waits a little for the next token if s is in its very last moments, and
// reports whether done was closed meanwhile.
func (s *Snapshot) outlast(ctx context.Context, done <-chan struct{}) bool {
	left := time.Until(s.expires)
	if left > min(5*time.Second, s.expires.Sub(s.renew)/4) {
		return false
	}
	timer := time.NewTimer(left / 2)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// offline answers while the store does not: a token in memory serves until it
// ends. No refresh is attempted, since its outcome could not be kept.
func (m *Manager) offline(ctx context.Context, h *Handle, t Target, w want, cause error) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s, err := h.remembered(t, w); s != nil || err != nil {
		return s, err
	}
	return nil, m.unread(ctx, t, cause)
}

// remembered returns the token in memory that serves while the store does not
// answer, or why that does not do. Without one it is (nil, nil).
func (h *Handle) remembered(t Target, w want) (*Snapshot, error) {
	v := h.last.Load()
	if u := h.unsaved.Load(); u != nil && (v == nil || u.p.on(v.conn)) { // else it was overtaken, as far as is known here
		return u.token(w)
	}
	if v != nil {
		v = v.opened(v.conn.GrantID)
	}
	if v == nil {
		return nil, nil
	}
	s := v.snapshot(w.slot)
	if s == nil || !s.Usable(time.Now()) || (w.rejected || w.force) && s.Generation() == w.generation {
		return nil, nil
	}
	if reason, err := Changed(v.conn, t); reason == "" && err == nil {
		return s, nil
	}
	return nil, nil
}

// alarmPause keeps a store that is down from filling the log with every call.
const alarmPause = 10 * time.Second

// unread is the error for a record that could not be read.
func (m *Manager) unread(ctx context.Context, t Target, cause error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now, last := time.Now(), m.alarmed.Load()
	if (last == nil || since(*last, now) >= alarmPause) && m.alarmed.CompareAndSwap(last, &now) {
		m.logger(t).ErrorContext(ctx, "oauthflow: the token store cannot be read", "error", cause)
	}
	return unreadable(t.Key, reasonStore, cause)
}

// fits makes sure that the grant was made under the definition as it is now, and
// records it if not.
func (m *Manager) fits(ctx context.Context, h *Handle, v *view, t Target) error {
	reason, err := Changed(v.conn, t)
	if err != nil {
		return unreadable(t.Key, reasonURLs, err)
	}
	if reason == "" {
		if changedReason(v.conn.Reason) && v.now().Sub(v.conn.UpdatedAt) >= markPause {
			_, err = h.update(ctx, func(c *tokenstore.Connection, now time.Time) error {
				return unmarkChanged(c, now, m.cfg.KeepAlive)
			})
		}
	} else if v.conn.Reason != reason {
		_, err = h.update(ctx, func(c *tokenstore.Connection, now time.Time) error { return markChanged(c, now, reason) })
		m.logger(t).WarnContext(ctx, "oauthflow: the definition no longer fits the grant; somebody must connect again", "reason", reason)
	}
	if err != nil && !errors.Is(err, errMoved) && ctx.Err() == nil {
		m.logger(t).WarnContext(ctx, "oauthflow: could not record whether the grant fits its definition", "error", err)
	}
	if reason == "" {
		v.fits.Store(true)
		return nil
	}
	return &ConnectionError{
		Kind: ErrReauthRequired, Key: t.Key, Status: tokenstore.ReauthRequired, Reason: reason,
		Message: "the connection was made under another " + map[string]string{
			ReasonEntityChanged: "entity id", ReasonClientChanged: "client id", ReasonDefinitionChanged: "token URL or provider",
		}[reason] + " than the definition has now; nothing was sent",
	}
}
