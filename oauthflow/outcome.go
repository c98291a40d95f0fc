package oauthflow

import (
	"cmp"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// What came of a presentation: pure functions, like those in protocol.go.

// Kinds of events in the history.
const (
	eventConnected     = "connected"
	eventRefreshed     = "refreshed"
	eventRefreshFailed = "refresh_failed"
	eventReauth        = "reauth_required"
	eventHealed        = "healed"
	eventDisconnected  = "disconnected"
	eventRefused       = "connect_refused"
	eventExported      = "exported"
)

// notSent records that a presentation certainly was not processed. It counts
// after a take-over as well: each presentation answers for itself alone.
func notSent(c *tokenstore.Connection, now time.Time, p presentation) error {
	a := c.Attempt
	if !p.on(c) || a == nil || a.Generation != p.generation || !slices.Contains(a.Open, p.id) {
		return errMoved
	}
	a.Open = slices.DeleteFunc(slices.Clone(a.Open), func(id string) bool { return id == p.id })
	switch {
	case len(a.Open) == 0:
		c.Attempt = nil
		if c.Status == tokenstore.ReauthRequired && c.Reason == ReasonLostRotation {
			heal(c)
			c.DueAt = now.Add(backgroundPause) // the verdict had cleared it
			c.Log(eventHealed, "", "")
		}
	case a.ID == p.id:
		a.Deadline = now
	}
	return nil
}

// refused records an answer that certainly left the refresh token as it was, or
// a request that never left.
func refused(c *tokenstore.Connection, now time.Time, p presentation, f failure) error {
	if err := notSent(c, now, p); err != nil {
		return err
	}
	fail(c, now, f, p.rejected)
	return nil
}

// unknown records that the request left and nothing is known of its fate. The
// attempt stays open, but no longer than bytes can be under way.
func (r rules) unknown(c *tokenstore.Connection, now time.Time, p presentation, f failure) error {
	a := c.Attempt
	if !p.on(c) || a == nil || a.ID != p.id {
		return errMoved
	}
	if soon := now.Add(r.Transit); soon.Before(a.Deadline) {
		a.Deadline = soon
	}
	fail(c, now, f, p.rejected)
	if a.Presentations == 1 && f.retryAfter == 0 {
		c.RetryAt = time.Time{} // the deadline is pause enough for the first repetition
	}
	return nil
}

// dead records the provider's answer that the grant is no more. If an earlier
// presentation's outcome is open, it may have been the one that was honoured. An
// access token that is good otherwise serves to its end, unless an API rejected it.
func dead(c *tokenstore.Connection, now time.Time, p presentation, f failure) error {
	a := c.Attempt
	if !p.on(c) || a == nil || a.ID != p.id {
		return errMoved
	}
	reason, code := ReasonInvalidGrant, f.code
	if slices.ContainsFunc(a.Open, func(id string) bool { return id != p.id }) {
		// What happened, rather than the provider's word for it.
		reason, code = ReasonLostRotation, ReasonLostRotation
	}
	c.Attempt = nil
	c.LastError = &tokenstore.Failure{Code: code, Message: f.message, At: now}
	if p.rejected {
		c.ExpiresAt = now
	}
	giveUp(c, reason)
	return nil
}

// What is recorded with a verdict that is not the provider's.
const (
	lostMessage      = "A renewed token was lost on its way here, and this provider's old one is not sent again."
	noRefreshMessage = "Nothing renews the access token; many providers want a scope such as offline_access for a refresh token."
	changedMessage   = "Nothing is sent for this grant, unless the definition is changed back."
)

// received are the tokens of a reply, sealed for one generation.
type received struct {
	generation int64
	sealed     []byte
	slot       bool // it was for another slot than the grant's own
	access     bool // sealed holds the grant's own access token
	refresh    bool // sealed holds a refresh token
	kept       bool // it is the one that was presented
	lifetime   time.Duration
	expiresAt  time.Time // absolute expiry; zero: lifetime says
	scopes     []string  // granted; nil: the provider did not say
	problem    *failure  // why there is no access token; nil if there is one

	idle      bool          // nobody has asked for the connection lately
	keepAlive time.Duration // how often it is renewed nevertheless; 0: the default
}

// commit stores what a presentation brought. Neither the status nor who holds the
// attempt matters: the provider has spent the old token, so the new one is the
// only one that works. ago is how long before now the request began.
//
// Sealing binds the generation, so the caller says by r.generation which of two
// cases he means: one more than was presented; or two more, where an earlier
// presentation of the same token brought a successor first and this later one
// replaced it at the provider.
func commit(c *tokenstore.Connection, now time.Time, p presentation, r received, ago time.Duration) error {
	own := c.Attempt != nil && c.Attempt.ID == p.id
	switch {
	case p.on(c) && r.generation == p.generation+1:
	case r.generation == p.generation+2 && p.replaces(c):
	default:
		return errMoved
	}
	if own {
		c.Attempt = nil
	}
	kind := eventRefreshed
	if c.Status == tokenstore.ReauthRequired && !(r.slot && changedReason(c.Reason)) {
		kind = eventHealed
	}
	c.ParentGeneration, c.ParentPresentation = p.generation, p.number
	if c.Kept++; !r.kept {
		c.Kept = 0
	}
	c.Log(kind, "", "")
	r.put(c, now, ago)
	if r.problem == nil {
		c.LastRefreshAt = now
	}
	return nil
}

// replaces reports whether the tokens in c came from an earlier presentation of
// the same refresh token, and nobody has begun anything on them.
func (p presentation) replaces(c *tokenstore.Connection) bool {
	return c.GrantID == p.grant && c.Generation == p.generation+1 && c.ParentGeneration == p.generation &&
		c.ParentPresentation < p.number && c.Attempt != nil && c.Attempt.ID == p.id
}

// arrivalPause is how long nothing is sent after a token that had expired when it
// came: asking again at once would bring another such.
const arrivalPause = time.Minute

// put writes tokens and what follows from them.
func (r received) put(c *tokenstore.Connection, now time.Time, ago time.Duration) {
	c.Generation, c.Sealed = r.generation, r.sealed
	c.HasAccessToken, c.HasRefreshToken = r.access, r.refresh
	if r.slot {
		r.revive(c, now) // everything else the reply says is about its slot
		return
	}
	c.ObtainedAt, c.ExpiresAt, c.DueAt = time.Time{}, time.Time{}, time.Time{}
	if r.scopes != nil {
		c.ScopesGranted = r.scopes
	}
	if r.problem != nil {
		c.Status = tokenstore.Degraded
		fail(c, now, *r.problem, false)
		return
	}
	c.ObtainedAt = now.Add(-ago)
	switch {
	case !r.expiresAt.IsZero():
		c.ExpiresAt = r.expiresAt
	case r.lifetime != 0:
		c.ExpiresAt = c.ObtainedAt.Add(r.lifetime)
	}
	heal(c)
	if r.lifetime < 0 || !r.expiresAt.IsZero() && !now.Before(r.expiresAt) {
		c.Status, c.Reason, c.RetryAt = tokenstore.Degraded, ReasonExpiredOnArrival, now.Add(arrivalPause)
		c.LastError = &tokenstore.Failure{Code: ReasonExpiredOnArrival, At: now, Message: "The provider sent an access token that " +
			"had expired already; check its expires_in, and this server's clock."}
	}
	c.DueAt = nextVisit(c, !r.idle, cmp.Or(r.keepAlive, defaultKeepAlive))
}

// heal makes a connection active and forgets its failures.
func heal(c *tokenstore.Connection) {
	c.Status, c.Reason, c.LastError = tokenstore.Active, "", nil
	c.Failures, c.FirstFailureAt, c.RetryAt = 0, time.Time{}, time.Time{}
}
