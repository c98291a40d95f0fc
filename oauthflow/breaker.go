package oauthflow

import (
	"net/http"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// A breaker keeps requests away from a token endpoint that refuses the client, or
// that is not there: what one connection has found out need not be asked again for
// each of a thousand others. Pure functions, over this machine's clock.

// breaker is what is known of one endpoint. The zero value is closed.
type breaker struct {
	failures int            // in a row, while closed
	last     tokenstore.Key // whose the last of them was
	openings int            // in a row, without a success between
	until    time.Time      // nothing is sent before; zero while closed
	probing  bool           // one request is under way to find out
	why      failure        // the last failure
	at       time.Time      // of the last failure
}

const (
	// endpointFailures is how many failures in a row, each of another connection than
	// the one before, are the endpoint's own: one connection alone may be throttled.
	endpointFailures = 3
	// endpointMemory is after how long a failure is no longer one of a row.
	endpointMemory = 15 * time.Minute
	// probePause is when to ask again while somebody else finds out.
	probePause = time.Second
)

// admission is what a breaker says to a request.
type admission struct {
	refused bool
	probe   bool          // the one request that finds out
	wait    time.Duration // if refused: when to ask again
}

// admit says whether a request may be sent. A person who asks (forced) need not
// wait for the pause to end, but for a probe that is under way.
func (b breaker) admit(now time.Time, forced bool) admission {
	switch {
	case b.until.IsZero():
		return admission{}
	case b.probing:
		return admission{refused: true, wait: probePause}
	case before(now, b.until) && !forced:
		return admission{refused: true, wait: b.until.Sub(now)}
	}
	return admission{probe: true}
}

// blame says how many failures in a row, of this kind, open a breaker; 0: it says
// nothing about the endpoint.
func blame(e *TokenError) int {
	switch e.Class {
	case ClassOperator:
		if e.Sent { // else it is this connection's URL
			return 1
		}
	case ClassTransient, ClassUnknown:
		return endpointFailures
	}
	return 0
}

// failed returns the breaker after a failure of key's that is blamed on the
// endpoint, of which it takes limit to open. probe: it was the probe's.
func (b breaker) failed(now time.Time, key tokenstore.Key, limit int, f failure, probe bool) breaker {
	open := !b.until.IsZero()
	if !open && since(b.at, now) >= endpointMemory {
		b = breaker{}
	}
	another := b.failures == 0 || key != b.last
	b.why, b.at, b.last = f, now, key
	if another {
		b.failures++
	}
	switch {
	case open && !probe:
		// It was sent before the breaker opened. All it can add is a longer pause.
		if asked := now.Add(f.retryAfter); asked.After(b.until) {
			b.until = asked
		}
	case open || b.failures >= limit:
		b.openings++
		b.until, b.probing = now.Add(coolDown(f, b.openings)), false
	}
	return b
}

// over reports whether nothing is lost by forgetting b.
func (b breaker) over(now time.Time) bool {
	return !b.probing && !before(now, b.until) && since(b.at, now) >= endpointMemory
}

// answered reports whether a failure is about the grant, so that the endpoint is
// well and knows the client.
func answered(e *TokenError) bool {
	switch e.Class {
	case ClassDead, ClassConfiguration, ClassUnclassified:
		return e.Sent && e.Status < http.StatusInternalServerError
	}
	return false
}
