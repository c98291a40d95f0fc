package oauthflow

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Access tokens for other scopes and audiences than the grant's own. Each has a
// slot of its own in the sealed tokens. They are got with the same refresh token,
// which may rotate, so the protocol is the same; what they say of themselves stays
// in their slot.

// maxAccess caps how long a scope or an audience may be, in bytes.
const maxAccess = 2 << 10

// Validate reports whether a provider can be asked for a.
func (a Access) Validate() error {
	for _, part := range []struct{ name, text string }{{"scope", a.Scope}, {"audience", a.Audience}} {
		switch {
		case len(part.text) > maxAccess:
			return fmt.Errorf("oauthflow: Access: the %s is longer than %d bytes", part.name, maxAccess)
		case !utf8.ValidString(part.text) || strings.ContainsFunc(part.text, unicode.IsControl):
			return errors.New("oauthflow: Access: the " + part.name + " has control characters or is no UTF-8")
		}
	}
	if a.Scope != strings.Join(strings.Fields(a.Scope), " ") {
		return errors.New("oauthflow: Access: the scope must be a list separated by single spaces")
	}
	return nil
}

// slot is where a's token is kept: no two have the same, since neither part has
// control characters.
func (a Access) slot() string {
	if a == (Access{}) {
		return ""
	}
	return a.Scope + "\n" + a.Audience
}

// String names a for messages.
func (a Access) String() string {
	switch {
	case a == Access{}:
		return "the grant's own scopes"
	case a.Audience == "":
		return fmt.Sprintf("scope %q", a.Scope)
	case a.Scope == "":
		return fmt.Sprintf("audience %q", a.Audience)
	}
	return fmt.Sprintf("scope %q and audience %q", a.Scope, a.Audience)
}

// accessTimes is what the protocol needs to know of one slot; store's clock.
type accessTimes struct {
	has               bool
	obtained, expires time.Time
}

// about turns w, which counts generations of its access token, into one about a
// record with these tokens.
func (w want) about(c *tokenstore.Connection, t *tokens) want {
	if w.generation != t.born(c, w.slot) {
		w.rejected, w.force = false, false // it was renewed since
	}
	w.generation = c.Generation
	if w.slot != "" && t != nil {
		w.stored = accessTimes{}
		if a := t.access[w.slot]; a != nil {
			w.stored = accessTimes{true, a.obtained, a.expires}
		}
	}
	return w
}

// born returns the generation that a slot's access token came with.
func (t *tokens) born(c *tokenstore.Connection, slot string) int64 {
	if t != nil {
		if a := t.access[slot]; a != nil {
			return cmp.Or(a.generation, c.Generation)
		}
	}
	if slot == "" {
		return c.Generation
	}
	return 0
}

// view returns the record with the wanted access token in the place of the
// grant's own. It is to be read only.
func (w want) view(c *tokenstore.Connection, now time.Time) *tokenstore.Connection {
	if w.slot == "" {
		return c
	}
	d, a := *c, w.stored
	d.HasAccessToken, d.ObtainedAt, d.ExpiresAt = a.has, a.obtained, a.expires
	if rest := a.obtained.Add(arrivalPause); a.endedOnArrival() && !a.obtained.After(now) && d.RetryAt.Before(rest) {
		d.RetryAt = rest
	}
	return &d
}

// endedOnArrival reports whether the token had expired when it came.
func (a accessTimes) endedOnArrival() bool {
	return a.has && !a.expires.IsZero() && !a.expires.After(a.obtained)
}

// revive takes note that the refresh token has just worked, for a slot other than
// the grant's own. A verdict falls, since this is evidence against it; so does the
// record of a failure, unless it was the own access token's.
func (r received) revive(c *tokenstore.Connection, now time.Time) {
	switch {
	case c.Status == tokenstore.ReauthRequired && !changedReason(c.Reason):
	case c.Status == tokenstore.Degraded && c.HasAccessToken &&
		c.Reason != ReasonExpiredOnArrival && c.Reason != string(ClassConfiguration):
	default:
		return
	}
	heal(c)
	switch {
	case !c.HasRefreshToken:
	case c.HasAccessToken:
		c.DueAt = nextVisit(c, !r.idle, cmp.Or(r.keepAlive, defaultKeepAlive))
	default:
		c.DueAt = now
	}
}

// aboutSlotAlone reports whether a refusal says nothing about the grant: another
// scope or audience would have been, or will be, granted. The refresh token was
// not used up by it.
func aboutSlotAlone(e *TokenError) bool {
	if !e.Sent {
		return false
	}
	// Microsoft Entra wraps the second kind in invalid_grant.
	return e.Class == ClassConfiguration || e.Class == ClassDead && (wantsConsent(e.Code) || wantsConsent(e.SubCode))
}

func wantsConsent(code string) bool {
	return code == "consent_required" || code == "interaction_required"
}

// refusedAccess says what the provider does not grant, and that the rest works.
func refusedAccess(a Access, e *TokenError) string {
	m := "The provider grants no access token for " + a.String() + "; the connection itself is not affected. " +
		"Check the scope, and whether the account and the client have consent for it."
	if e.Description != "" {
		m += fmt.Sprintf(" It said: %q", e.Description)
	}
	return m
}

// slotPause is why and until when, by this machine's clock, a slot is not asked
// for. It is no part of the record, because the connection as such is well.
type slotPause struct {
	grant    string
	until    time.Time
	failures int
	err      *ConnectionError
}

// maxPauses bounds how many are remembered for a connection.
const maxPauses = 64

// pause remembers that a slot's token was refused and returns the error for it.
func (h *Handle) pause(v *view, a Access, code, message string, cause error) *ConnectionError {
	e := &ConnectionError{
		Kind: ErrUnavailable, Key: h.key, Status: v.conn.Status, Reason: string(ClassConfiguration),
		Code: code, Message: message, Err: cause,
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pauses[a.slot()]
	if p.grant != v.conn.GrantID {
		p = slotPause{grant: v.conn.GrantID}
	}
	p.failures++
	e.RetryAfter = coolDown(failure{class: ClassConfiguration, jitter: jitter()}, p.failures)
	p.until, p.err = time.Now().Add(e.RetryAfter), e
	if h.pauses == nil {
		h.pauses = map[string]slotPause{}
	}
	if len(h.pauses) >= maxPauses {
		clear(h.pauses) // asking once too often is better than growing for ever
	}
	h.pauses[a.slot()] = p
	return e
}

// paused reports whether a slot must not be asked for now, and the error for it.
func (h *Handle) paused(v *view, w want) (*ConnectionError, bool) {
	if w.slot == "" || w.force {
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.pauses[w.slot]
	now := time.Now()
	if !ok || p.grant != v.conn.GrantID || !now.Before(p.until) {
		return nil, false
	}
	e := *p.err
	e.Status, e.RetryAfter = v.conn.Status, p.until.Sub(now)
	return &e, true
}

// resume forgets a slot's failures.
func (h *Handle) resume(slot string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pauses, slot)
}
