package oauthflow

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Revoking what was removed. The tombstone holds what is to be sent, and the due
// index is the queue: whoever removes tries at once, and the background of any
// process tries again. So nobody who removes waits for a provider, nothing is
// forgotten with a process, and there is one entry per connection at most.

// sealedPause is how often it is tried to open what does not open.
const sealedPause = time.Hour

// revoke asks the provider to revoke what is left of a removed connection, and writes
// down what came of it. via carries the request if it may not go by the manager's
// own transport; nil: what the manager has for that. walk: it is the background's turn.
// The result is false if the record does not say when to try again.
func (m *Manager) revoke(key tokenstore.Key, via http.RoundTripper, walk bool) bool {
	ctx, cancel := detached(m.cfg.Timing.Request)
	defer cancel()
	h, release := m.visitor(key)
	defer release()
	v, err := h.read(ctx)
	switch {
	case err != nil:
		return false
	case !revoking(v.conn), !walk && v.conn.RetryAt.After(v.conn.ReadAt):
		return true
	}
	p, err := openRevocation(ctx, m.cfg.Sealer, v.conn)
	if err == nil {
		via, err = m.carrier(ctx, key, p, via)
	}
	if err != nil {
		m.keepSealed(h, err)
		return false
	}
	if m.ctx.Err() == nil { // else Close is waiting: what is left must do
		// That opening took its time must not speak against the provider.
		var end context.CancelFunc
		ctx, end = detached(m.cfg.Timing.Request)
		defer end()
	}
	through, refused := m.breakers.enter(p.breaker(key), key, false)
	var a answers
	switch {
	case refused == nil:
		defer through.leave()
		a = m.sendRevocation(ctx, key, p, via, through, func() bool {
			now, err := h.read(ctx)
			return err == nil && revoking(now.conn)
		})
		if a.failure == nil && len(a.done) == 0 {
			return true // nothing was sent: somebody has connected again, or the store is away
		}
	case walk:
		why := refused.why
		why.retryAfter, why.jitter = max(refused.wait, blockedPause(refused.why.class, refused.openings)), jitter()
		a = answers{failure: &why, blocked: true}
	default:
		return true // it is due soon
	}
	ctx, cancel = detached(m.cfg.Timing.Record)
	defer cancel()
	err = repeat(ctx, func(ctx context.Context) error { return m.recordRevocation(ctx, h, v, p, a) })
	if err != nil {
		m.logger(p.target(key)).WarnContext(ctx, "oauthflow: what came of a revocation could not be stored; it will be sent again", "error", err)
	}
	return err == nil
}

// carrier returns what carries p; nil is the manager's own transport.
func (m *Manager) carrier(ctx context.Context, key tokenstore.Key, p *revocation, via http.RoundTripper) (http.RoundTripper, error) {
	switch {
	case !p.restricted:
		return nil, nil
	case via != nil:
		return via, nil
	case m.cfg.Restricted != nil:
		return m.cfg.Restricted, nil
	case m.cfg.Targets != nil:
		if t, err := m.cfg.Targets.Target(ctx, key); err == nil && t.Transport != nil {
			return t.Transport, nil
		}
	}
	return nil, errors.New("oauthflow: the connection's definition had a transport of its own; set Config.Restricted to revoke by it")
}

// sendRevocation sends each of p's tokens once, until one cannot be sent, or there is
// no need any more: somebody may connect again between two, or while the key service
// opens the first.
func (m *Manager) sendRevocation(
	ctx context.Context, key tokenstore.Key, p *revocation, via http.RoundTripper, through *pass, still func() bool,
) answers {
	var (
		a    answers
		last *TokenError
		t    = p.target(key)
	)
	for _, r := range p.tokens {
		if !still() {
			break
		}
		var err error
		m.request(ctx, t, RequestRevocation, true, func(ctx context.Context) error {
			err = m.requester.Revoke(ctx, RevocationRequest{Client: p.client, Transport: via, Token: r.secret, Hint: r.hint})
			return err
		})
		if err == nil || errors.Is(err, ErrNoRevocation) {
			a.done, a.accepted = append(a.done, r), a.accepted || err == nil
			continue
		}
		last = asTokenError(err, false)
		if forgotten(last) {
			a.done, a.accepted = append(a.done, r), true
			continue
		}
		why := explain(last, p.client)
		if a.failure == nil {
			a.failure, a.refused = &why, final(last)
		}
		m.logger(t).InfoContext(ctx, "oauthflow: the provider did not revoke a token", "kind", r.hint, "code", why.code, "error", last)
		if !final(last) || last.Class == ClassOperator {
			a.refused = a.refused && final(last)
			break // the others would fare no better
		}
	}
	switch {
	case last != nil && a.failure != nil:
		through.failed(last, p.client, a.failure.jitter)
	case len(a.done) > 0:
		through.succeeded()
	}
	return a
}

// forgotten reports whether a refusal says that the token is none any more: some
// providers answer so to what was revoked with the refresh token before it.
func forgotten(e *TokenError) bool { return e.Class == ClassDead || e.Code == "invalid_token" }

// final reports whether a failure would be the same the next time, as far as one can
// tell.
func final(e *TokenError) bool {
	switch e.Class {
	case ClassOperator, ClassConfiguration, ClassUnclassified:
		return e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooEarly
	}
	return false
}

// recordRevocation writes down what came of a try. p is what v holds.
func (m *Manager) recordRevocation(ctx context.Context, h *Handle, v *view, p *revocation, a answers) error {
	generation := v.conn.Generation
	for seen := v.conn.Revoking; ; {
		if !revoking(v.conn) || v.conn.Generation != generation {
			return nil // somebody else was done with it, or has connected again
		}
		if !bytes.Equal(v.conn.Revoking, seen) { // sealed anew, or there is more by now
			var err error
			if p, err = openRevocation(ctx, m.cfg.Sealer, v.conn); err != nil {
				return err
			}
			seen = v.conn.Revoking
		}
		step := revocationStep{answers: a, seen: seen, rest: p.after(a), sealed: seen}
		if n := len(step.rest.tokens); n > 0 && !p.same(step.rest) {
			var err error
			if step.sealed, err = step.rest.seal(ctx, m.cfg.Sealer, h.key, v.conn.Generation); err != nil {
				return err
			}
		}
		next, err := h.update(ctx, step.do)
		switch {
		case err == nil:
			m.sayRevoked(ctx, next.conn, step)
			return nil
		case !errors.Is(err, errMoved):
			return err
		}
		v = next
	}
}

// sayRevoked says how it has ended, if it has.
func (m *Manager) sayRevoked(ctx context.Context, c *tokenstore.Connection, s revocationStep) {
	if c.Revoking != nil {
		return
	}
	kind, reason := s.verdict()
	log := m.logger(s.rest.target(c.Key))
	if kind == eventRevoked {
		m.counters.revoked.Add(1)
		log.InfoContext(ctx, "oauthflow: the provider has revoked what was disconnected")
	} else {
		m.counters.notRevoked.Add(1)
		log.WarnContext(ctx, "oauthflow: given up revoking what was disconnected; the person can remove the access in the account's settings there", "code", reason)
	}
	if s.rest.quiet && m.cfg.Events != nil {
		m.tell(eventOf(c, tokenstore.Event{Kind: kind, Reason: reason}))
	}
}

// keepSealed leaves alone for a while what cannot be opened, or carried, by this
// process: it is kept, since another process, or the next one, may be able to.
func (m *Manager) keepSealed(h *Handle, why error) {
	ctx, cancel := detached(m.cfg.Timing.Record) // opening may have used up what there was
	defer cancel()
	m.log.ErrorContext(ctx, "oauthflow: what is to be revoked cannot be sent by this process; it is kept until it can be",
		"definition", h.key.Definition, "org", h.key.Org, "error", why)
	pause := sealedPause
	if errors.Is(why, tokenstore.ErrKeysAway) || errors.Is(why, context.DeadlineExceeded) {
		pause = aimlessPatience
	}
	pause += share(pause, jitter())
	_, err := h.update(ctx, func(c *tokenstore.Connection, now time.Time) error {
		if !revoking(c) || now.Sub(c.DueAt) < aimlessPatience {
			return errMoved
		}
		c.DueAt = now.Add(pause)
		return nil
	})
	if err != nil && !errors.Is(err, errMoved) {
		m.log.WarnContext(ctx, "oauthflow: a revocation could not be put off", "definition", h.key.Definition, "org", h.key.Org, "error", err)
	}
}
