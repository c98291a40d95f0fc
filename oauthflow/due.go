package oauthflow

import (
	"hash/fnv"
	"strconv"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// When the background looks at a connection: pure functions over its record, like
// those in protocol.go. DueAt is right after every write, so what is not due costs
// nothing.
//
// A connection that somebody uses is renewed ahead of its end; any other once per
// KeepAlive, so that a provider which counts the days keeps the grant, and a dead
// one shows. Who uses it no record says: the process that writes knows of its own
// callers, and puts the rest off; a process that uses it nevertheless says so by
// [claim]. That costs one write where two processes share a connection, and none
// where they do not.

const (
	// defaultKeepAlive is how often an unused connection is renewed.
	defaultKeepAlive = 7 * 24 * time.Hour
	// usedFor is how long a connection counts as used after somebody asked.
	usedFor = 24 * time.Hour
	// longestLead and leadShare bound how long before its end an access token is
	// renewed in the background. That is before Get would: see longestMargin.
	longestLead = 5 * time.Minute
	leadShare   = 3
	// backgroundPause is the least time between two looks at a connection, and
	// longestBackgroundPause the longest that failures make of it.
	backgroundPause        = 30 * time.Second
	longestBackgroundPause = time.Hour
	// changedPause is how often a connection is looked at that does not fit its
	// definition, or whose definition is not known in this process.
	changedPause = 24 * time.Hour
)

// spread is a number in [0, 1) that differs from one generation to the next, so
// that connections made together do not stay together.
func spread(c *tokenstore.Connection) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.GrantID + strconv.FormatInt(c.Generation, 10)))
	return float64(h.Sum32()%256) / 256
}

// nextVisit is when the background should look at a connection whose tokens came
// well; zero for never. used says whether somebody uses it.
func nextVisit(c *tokenstore.Connection, used bool, keepAlive time.Duration) time.Time {
	if !c.Connected() || !c.HasRefreshToken {
		return time.Time{}
	}
	idle := later(c.ObtainedAt.Add(keepAlive-share(keepAlive/10, spread(c))), c.RetryAt)
	if !used || c.ExpiresAt.IsZero() || c.Reason == ReasonExpiredOnArrival {
		return idle
	}
	lead := min(longestLead, max(0, c.ExpiresAt.Sub(c.ObtainedAt)/leadShare))
	ahead := later(c.ExpiresAt.Add(-lead+share(lead/5, spread(c))), c.ObtainedAt.Add(backgroundPause))
	if !ahead.Before(renewAt(c)) || idle.Before(ahead) {
		return idle // it lives too short to be ahead of its callers
	}
	return ahead
}

// claim makes the background renew a connection ahead of its end because it is
// used, if whoever wrote the record did not know that.
func claim(c *tokenstore.Connection, now time.Time, keepAlive time.Duration) error {
	if !claimable(c, now, keepAlive) {
		return errMoved
	}
	c.DueAt = nextVisit(c, true, keepAlive)
	return nil
}

// claimable reports whether [claim] would change anything. When the time to be
// ahead has passed, the next caller renews, and why the background has not is its
// own affair.
func claimable(c *tokenstore.Connection, now time.Time, keepAlive time.Duration) bool {
	if c.Status != tokenstore.Active || c.Attempt != nil {
		return false
	}
	at := nextVisit(c, true, keepAlive)
	return at.After(now) && at.Before(c.DueAt)
}

// afterFailure is when the background tries again after the n-th failure.
func afterFailure(now time.Time, n int, jitter float64) time.Time {
	pause := min(backgroundPause<<min(max(n-1, 0), 10), longestBackgroundPause)
	return now.Add(pause + share(pause, jitter))
}

// putOff moves on a connection that is due although nothing could be done for it:
// by rest at least, and until what stands in the way is over. What can never be
// renewed is not looked at again.
func (r rules) putOff(c *tokenstore.Connection, now time.Time, rest time.Duration) error {
	if !visitDue(c, now) {
		return errMoved
	}
	if revoking(c) {
		c.DueAt = later(now.Add(rest), c.RetryAt)
		return nil
	}
	changed := changedReason(c.Reason)
	if !c.Connected() || !c.HasRefreshToken || c.Status == tokenstore.ReauthRequired && !changed {
		c.DueAt = time.Time{}
		return nil
	}
	if changed {
		rest = max(rest, changedPause)
	}
	c.DueAt = later(now.Add(rest), c.RetryAt)
	if c.Attempt != nil {
		_, until := r.observe(c, now, false, usable(c, now), c.ExpiresAt)
		c.DueAt = later(c.DueAt, until)
	}
	return nil
}

// later returns the later of two instants.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// share returns a part of d; part is in [0, 1).
func share(d time.Duration, part float64) time.Duration { return time.Duration(part * float64(d)) }

// visitDue reports whether the background should look at c now.
func visitDue(c *tokenstore.Connection, now time.Time) bool {
	return !c.DueAt.IsZero() && !now.Before(c.DueAt)
}
