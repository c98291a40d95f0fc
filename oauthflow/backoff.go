package oauthflow

import (
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// failure is a failed token request, ready to be recorded.
type failure struct {
	class      Class
	code       string // the provider's, or one of ours
	message    string
	retryAfter time.Duration
	jitter     float64 // [0, 1)
}

// An unclassified refusal becomes a verdict only after this many of them over at
// least this time: providers answer 400 to dead grants and to their own bugs.
const (
	unclassifiedTimes = 5
	unclassifiedSpan  = time.Hour
)

// count records a failure: why, since when, and when to try again. Failures are
// counted by class, so that an outage does not count towards a verdict.
func count(c *tokenstore.Connection, now time.Time, f failure) {
	if c.Reason != string(f.class) || c.Failures == 0 {
		c.Failures, c.FirstFailureAt = 0, now
	}
	c.Failures++
	c.LastError = &tokenstore.Failure{Code: f.code, Message: f.message, At: now}
	c.RetryAt = now.Add(coolDown(f, c.Failures))
	c.Log(eventRefreshFailed, f.code, "")
}

// fail records a failed refresh, and what follows from it for the grant. rejected:
// an API answered 401 to the access token, so it is none to live on, whatever its end.
func fail(c *tokenstore.Connection, now time.Time, f failure, rejected bool) {
	reason := string(f.class)
	count(c, now, f)
	if c.Status == tokenstore.ReauthRequired && !changedReason(c.Reason) {
		return // a verdict stands until there is evidence against it
	}
	c.Status, c.Reason = tokenstore.Degraded, reason
	c.DueAt = later(c.RetryAt, afterFailure(now, c.Failures, f.jitter))
	if f.class == ClassUnclassified && c.Failures >= unclassifiedTimes &&
		now.Sub(c.FirstFailureAt) >= unclassifiedSpan && (rejected || !usable(c, now)) {
		if rejected {
			c.ExpiresAt = now
		}
		giveUp(c, reason)
	}
}

// coolDown is how long nothing is sent after the n-th failure of a class:
// exponential with full jitter above a floor, and never less than the provider
// asked for.
func coolDown(f failure, n int) time.Duration {
	floor, top := time.Second, 5*time.Minute
	switch f.class {
	case ClassOperator, ClassConfiguration, ClassUnclassified:
		// Somebody has to do something first.
		floor, top = 30*time.Second, 15*time.Minute
	case ClassUnknown:
		floor = 5 * time.Second
	}
	ceiling := min(2*floor<<min(n-1, 10), top)
	pause := floor + time.Duration(f.jitter*float64(ceiling-floor))
	return max(pause, min(f.retryAfter, longestRetryAfter))
}

// longestMargin and marginShare bound how long before its end an access token is
// renewed: the smaller of the two counts.
const (
	longestMargin = 60 * time.Second
	marginShare   = 4
)

// renewAt is when the access token should be renewed; zero if its end is unknown.
// The margin differs by up to a quarter from one generation to the next, so that
// connections made together do not stay together.
func renewAt(c *tokenstore.Connection) time.Time {
	if c.ExpiresAt.IsZero() {
		return time.Time{}
	}
	margin := min(longestMargin, max(0, c.ExpiresAt.Sub(c.ObtainedAt)/marginShare))
	return c.ExpiresAt.Add(-margin + share(margin/4, spread(c)))
}

// due reports whether the access token should be renewed.
func due(c *tokenstore.Connection, now time.Time) bool {
	return !c.HasAccessToken || !c.ExpiresAt.IsZero() && !now.Before(renewAt(c))
}
