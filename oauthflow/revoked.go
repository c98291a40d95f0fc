package oauthflow

import (
	"bytes"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// What came of asking a provider to revoke: pure functions, like those in
// protocol.go. Revoking twice is harmless, so there is no attempt in the record as
// with a refresh: what is stored there is what is left to be done.

// Kinds of events about what a disconnect left to be done at the provider.
const (
	eventRevoked          = "revoked"
	eventRevocationFailed = "revocation_failed"
)

const (
	// revocationPatience is for how long after the first failure a provider is asked
	// to revoke what was removed.
	revocationPatience = 24 * time.Hour
	// codeUnsupported is the reason where a provider does not revoke such tokens (RFC
	// 7009 §2.2.1).
	codeUnsupported = "unsupported_token_type"
	// codeReconnected is the reason where somebody connected again first: at some
	// providers the new grant would go with the old one.
	codeReconnected = "reconnected"
)

// answers are what came of one try.
type answers struct {
	done     []revocable // they need not be sent again
	accepted bool        // the provider has revoked one
	failure  *failure    // why there is something left; nil if nothing failed
	refused  bool        // the failure is an answer that looks final
	blocked  bool        // nothing was sent: the endpoint is left alone at the moment
}

// after returns what is left of p.
func (p *revocation) after(a answers) *revocation {
	rest := p.without(a.done)
	rest.accepted = rest.accepted || a.accepted
	switch {
	case a.blocked:
	case a.refused:
		rest.refusals++
	default:
		rest.refusals = 0
	}
	return rest
}

// same reports whether nothing has changed but what the record says.
func (p *revocation) same(rest *revocation) bool {
	return len(p.tokens) == len(rest.tokens) && p.accepted == rest.accepted && p.refusals == rest.refusals
}

// revocationStep is the step on a tombstone after a try.
type revocationStep struct {
	answers
	seen   []byte      // what was tried, as it is stored
	rest   *revocation // what is left of it
	sealed []byte      // rest; nil if it has no tokens
}

// do is the step. What was refused five times over at least an hour, or failed for a
// day, is given up.
func (s revocationStep) do(c *tokenstore.Connection, now time.Time) error {
	if !revoking(c) || !bytes.Equal(c.Revoking, s.seen) {
		return errMoved // connected again, or there is more to revoke by now
	}
	if len(s.rest.tokens) == 0 {
		s.over(c)
		return nil
	}
	c.Revoking = s.sealed
	if s.failure == nil { // whoever added to it sees to that
		return nil
	}
	if c.FirstFailureAt.IsZero() {
		c.FirstFailureAt = now
	}
	failing := now.Sub(c.FirstFailureAt)
	if failing >= revocationPatience || s.rest.refusals >= unclassifiedTimes && failing >= unclassifiedSpan {
		s.over(c)
		return nil
	}
	if s.blocked {
		pause := s.failure.retryAfter
		c.RetryAt = now.Add(pause + share(pause, s.failure.jitter))
	} else {
		c.Failures++
		c.RetryAt = later(afterFailure(now, c.Failures, s.failure.jitter), now.Add(s.failure.retryAfter))
	}
	if last := c.FirstFailureAt.Add(revocationPatience); c.RetryAt.After(last) {
		c.RetryAt = last
	}
	c.DueAt = c.RetryAt
	return nil
}

// over ends it, well or not.
func (s revocationStep) over(c *tokenstore.Connection) {
	c.Revoking, c.Failures = nil, 0
	c.DueAt, c.RetryAt, c.FirstFailureAt = time.Time{}, time.Time{}, time.Time{}
	if !s.rest.quiet {
		kind, reason := s.verdict()
		c.Log(kind, reason, "")
	}
}

// verdict is how it has ended.
func (s revocationStep) verdict() (kind, reason string) {
	switch {
	case len(s.rest.tokens) > 0:
		return eventRevocationFailed, s.failure.code
	case s.rest.accepted:
		return eventRevoked, ""
	}
	return eventRevocationFailed, codeUnsupported
}

// remaining is the step that adds what is to be revoked to a tombstone; seen is what
// stands there, nil if nothing does. pause is when the background is to look, unless
// it knows already.
func remaining(c *tokenstore.Connection, now time.Time, generation int64, seen, sealed []byte, pause time.Duration) error {
	if c.Connected() || c.Generation != generation || !bytes.Equal(c.Revoking, seen) {
		return errMoved
	}
	if c.Revoking == nil || c.DueAt.IsZero() {
		c.DueAt = now.Add(pause)
	}
	c.Revoking = sealed
	return nil
}
