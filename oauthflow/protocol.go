package oauthflow

import (
	"errors"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// The refresh protocol, as pure functions over a connection's record and the
// store's clock. Store.Update runs them as one atomic step each.
//
// What they keep: a refresh token is presented a second time only if nobody can
// know what became of the first presentation, and then as the provider's
// RefreshPolicy says; a received successor is never overwritten by an older one;
// a verdict is never final against evidence.
//
// The attempt stored in the record is the lease. No other lock exists, and none
// would help: a process can be frozen between its last check and the send, so
// every step must be a condition on the record itself.

// errMoved says that the record is no longer what a step was meant for: nothing
// was written, read it again.
var errMoved = errors.New("oauthflow: the connection has moved on")

// What tokenstore.Connection.Reason can be beside a [Class].
const (
	// ReasonInvalidGrant: the provider no longer accepts the grant.
	ReasonInvalidGrant = "invalid_grant"
	// ReasonLostRotation: a renewed token was lost between the provider and here.
	ReasonLostRotation = "lost_rotation"
	// ReasonNoRefreshToken: the access token has ended, and there is nothing to
	// renew it with.
	ReasonNoRefreshToken = "no_refresh_token"
	// ReasonExpiredOnArrival: the provider's newest token had ended when it came.
	ReasonExpiredOnArrival = "expired_on_arrival"
	// ReasonEntityChanged, ReasonClientChanged and ReasonDefinitionChanged: the
	// grant was made under another entity, client id, or token URL or other facts of
	// the definition; see [Changed].
	ReasonEntityChanged     = "entity_changed"
	ReasonClientChanged     = "client_changed"
	ReasonDefinitionChanged = "definition_changed"
)

// rules are what the protocol needs to know of a provider.
type rules struct {
	Timing
	policy   RefreshPolicy
	observed bool // nobody has declared the policy, so what the provider does counts
	grace    time.Duration
}

func rulesOf(t Timing, p *Provider) rules {
	r := rules{Timing: t, policy: p.RefreshPolicy, grace: p.ReuseGrace}
	if r.policy == "" {
		r.policy, r.observed = Ask, true
		if r.grace > 0 {
			r.policy, r.observed = Grace, false
		}
	}
	return r
}

// keptEnough is after how many refreshes in a row that left the refresh token as it
// was a provider counts as one that does not rotate.
const keptEnough = 2

// policyFor is the policy for c's refresh token. One that has outlived its uses
// outlives the next, as far as anybody can tell.
func (r rules) policyFor(c *tokenstore.Connection) RefreshPolicy {
	if r.observed && c.Kept >= keptEnough {
		return Reusable
	}
	return r.policy
}

// want is what a caller knows beyond the record.
type want struct {
	// slot is which access token he wants; "" is the grant's own.
	slot string
	// generation is the one the two flags are about; they mean nothing once the
	// record has moved on from it. Before [want.about] it is the access token's own.
	generation int64
	rejected   bool // an API answered 401 to its access token
	force      bool // renew although the token is good and although a cool-down runs
	// walk says that the background asks: what is due by DueAt is renewed although
	// the token is good.
	walk bool
	// stored is what the record's sealed tokens say of a slot other than "".
	stored accessTimes
}

// step is what a process should do about a connection.
type step uint8

const (
	serve        step = iota // use the stored access token
	disconnected             // there is no grant
	reauth                   // only a person can help
	wait                     // somebody's attempt is under way
	cool                     // nothing may be sent before decision.until
	begin                    // present the refresh token
	takeOver                 // present it again: the earlier outcome is unknown
	clearStale               // forget an attempt on an older generation
	restamp                  // an attempt lies in the future: the clock was set back
	lose                     // give the rotation up for lost
	expire                   // no refresh token, and the access token has ended
)

// decision is the next step, and until when wait or cool lasts.
type decision struct {
	step   step
	until  time.Time // store's clock; zero if nobody knows
	usable bool      // the stored access token can be used meanwhile
}

// decide says what to do about a connection as it stands. While the access token
// is usable nobody waits for anything but a renewal of his own demand.
func (r rules) decide(c *tokenstore.Connection, now time.Time, w want) decision {
	if !c.Connected() {
		return decision{step: disconnected}
	}
	if w.generation != c.Generation {
		w = want{slot: w.slot, walk: w.walk}
	}
	held, end := usable(c, now), c.ExpiresAt // until when there is something to lose
	c = w.view(c, now)
	d := decision{usable: usable(c, now) && !w.rejected}
	if w.slot == "" || d.usable {
		held, end = d.usable, c.ExpiresAt
	}
	d.step, d.until = r.next(c, now, w, d.usable, held, end)
	if d.usable && !w.force && (d.step == wait || d.step == cool || d.step == reauth) {
		return decision{step: serve, usable: true}
	}
	return d
}

// next decides about c as [want.view] shows it. held says that there is an access
// token that works until end, be it the wanted one or the grant's own.
func (r rules) next(c *tokenstore.Connection, now time.Time, w want, usable, held bool, end time.Time) (step, time.Time) {
	resting := now.Before(c.RetryAt) && !w.force && !setBack(c, now)
	switch {
	case c.Status == tokenstore.ReauthRequired && !changedReason(c.Reason):
		return reauth, time.Time{}
	case usable && !w.force && !due(c, now) && !(w.walk && visitDue(c, now)):
		return serve, time.Time{}
	case !c.HasRefreshToken && usable:
		return serve, time.Time{}
	case !c.HasRefreshToken:
		return expire, time.Time{}
	case c.Attempt != nil:
		return r.observe(c, now, resting, held, end)
	case resting:
		return cool, c.RetryAt
	}
	return begin, time.Time{}
}

// setBack reports whether the clock was set back since the last failure. RetryAt
// was reckoned from then, so nobody knows how long the pause would still be.
func setBack(c *tokenstore.Connection, now time.Time) bool {
	return c.LastError != nil && c.LastError.At.After(now)
}

// observe says what to do about an open attempt.
func (r rules) observe(c *tokenstore.Connection, now time.Time, resting, held bool, end time.Time) (step, time.Time) {
	a, policy := c.Attempt, r.policyFor(c)
	switch {
	case a.Started.After(now) || a.Deadline.After(now.Add(r.Attempt)):
		return restamp, time.Time{}
	case !a.Deadline.Before(now) && !(resting && c.RetryAt.After(a.Deadline)):
		return wait, a.Deadline
	case a.Generation != c.Generation && a.Deadline.Before(now):
		return clearStale, time.Time{}
	case resting:
		return cool, c.RetryAt
	case policy == Grace && a.Presentations == 1 && !now.Add(r.reach()).After(a.Started.Add(r.grace)):
		return takeOver, time.Time{}
	case policy == Reusable: // asking costs nothing
		return takeOver, time.Time{}
	case held:
		// Asking may cost the grant, so not before there is nothing to lose.
		return cool, end
	case policy == Never:
		return lose, time.Time{}
	}
	return takeOver, time.Time{}
}

// presentation is one presentation of a connection's refresh token.
type presentation struct {
	id         string
	grant      string
	generation int64
	tokenHash  []byte
	rejected   bool // an API rejected the grant's own access token, which this is to replace
	number     int  // 1 for the first of this attempt; known once present has run
}

// on reports whether c is still what p is about. Disconnect and reconnect win.
func (p presentation) on(c *tokenstore.Connection) bool {
	return c.GrantID == p.grant && c.Generation == p.generation
}

// present opens an attempt, or takes an open one over. Only when it is on stable
// storage may a byte be sent.
func (r rules) present(c *tokenstore.Connection, now time.Time, w want, p presentation) error {
	if !p.on(c) {
		return errMoved
	}
	switch r.decide(c, now, w).step {
	case begin:
		c.Attempt = &tokenstore.Attempt{
			ID: p.id, Open: []string{p.id}, Generation: p.generation, TokenHash: p.tokenHash,
			Started: now, Deadline: now.Add(r.Attempt), Presentations: 1,
		}
	case takeOver:
		a := c.Attempt
		a.ID, a.Open = p.id, append(slices.Clone(a.Open), p.id)
		a.Deadline = now.Add(r.Attempt)
		a.Presentations++
	default:
		return errMoved
	}
	return nil
}

// tidy does the steps that send nothing.
func (r rules) tidy(c *tokenstore.Connection, now time.Time, w want) error {
	switch r.decide(c, now, w).step {
	case clearStale:
		c.Attempt = nil
	case restamp:
		// One more span from now is always safe. How long ago it was begun nobody
		// can say any more, so the provider's grace counts as over.
		c.Attempt.Deadline = now.Add(r.Attempt)
		c.Attempt.Started = now.Add(-r.grace)
	case lose:
		// The attempt stays: its owner may still say what became of it.
		c.LastError = &tokenstore.Failure{Code: ReasonLostRotation, Message: lostMessage, At: now}
		w.retire(c, now)
		giveUp(c, ReasonLostRotation)
	case expire:
		if w.slot != "" {
			return errMoved // the grant's own access token may do for long
		}
		w.retire(c, now)
		c.LastError = &tokenstore.Failure{Code: ReasonNoRefreshToken, Message: noRefreshMessage, At: now}
		giveUp(c, ReasonNoRefreshToken)
	default:
		return errMoved
	}
	return nil
}

// retire ends the grant's own access token if an API has rejected it: a verdict
// leaves it in the record, and it must not be served again.
func (w want) retire(c *tokenstore.Connection, now time.Time) {
	if w.rejected && w.generation == c.Generation && w.slot == "" {
		c.ExpiresAt = now
	}
}

// giveUp sets reauth_required. Tokens and generation stay, so that a late success
// can overturn it.
func giveUp(c *tokenstore.Connection, reason string) {
	c.Status, c.Reason, c.DueAt = tokenstore.ReauthRequired, reason, time.Time{}
	c.Log(eventReauth, reason, "")
}

// usable reports whether the stored access token works as far as anyone knows.
func usable(c *tokenstore.Connection, now time.Time) bool {
	return c.HasAccessToken && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt))
}
