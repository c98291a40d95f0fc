package oauthflow

import (
	"net/http"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// A breaker keeps requests away from a token endpoint that refuses the client, or
// that is not there: what one connection has found out need not be asked again for
// each of a thousand others. Pure functions, over this machine's clock.

// breaker is what is known of one endpoint. The zero value is closed.
type breaker struct {
	success  time.Time // the last one; zero if none is known
	voices   []voice   // of failures since, the latest last; never changed in place
	openings int       // in a row, without a success between
	until    time.Time // nothing is sent before; zero while closed
	probing  bool      // one request is under way to find out
	why      failure   // the last failure
	at       time.Time // of the last failure
}

// voice is the last failure of one organization. Its connections have one voice: a
// customer with many must not pass for many customers.
type voice struct {
	who   tokenstore.Key
	blame blame
	at    time.Time
	asked time.Time // until when the provider asked it to wait
}

const (
	// endpointFailures is how many organizations in a row must fail before it is the
	// endpoint's own: one alone may be throttled, or have removed the client.
	endpointFailures = 3
	// endpointMemory is after how long a failure is no longer one of a row.
	endpointMemory = 15 * time.Minute
	// successMemory is for how long a success speaks for the endpoint.
	successMemory = 10 * time.Minute
	// maxVoices bounds how many organizations are told apart.
	maxVoices = 8
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

// blame is whom a failure is about.
type blame int

const (
	blameNobody   blame = iota // but the connection
	blameDoubtful              // an answer: the connection, its organization or the endpoint
	blameEndpoint              // there was no answer
	blameClient                // whoever asks with it is refused
)

// clientErrors are the codes that are about the client itself. Not
// unauthorized_client: at a token URL that customers share, it is what one gets who
// has removed the client.
var clientErrors = map[string]bool{
	"invalid_client":               true,
	"incorrect_client_credentials": true, // GitHub
	"bad_client_secret":            true, // Slack
	"invalid_client_id":            true, // Slack
}

// blameFor says whom a failure is about.
func blameFor(e *TokenError) blame {
	switch e.Class {
	case ClassOperator:
		switch {
		case !e.Sent: // it is this connection's URL
			return blameNobody
		case clientErrors[e.Code], clientErrors[e.SubCode] && codes[e.Code] == "":
			return blameClient
		}
		return blameDoubtful
	case ClassTransient, ClassUnknown:
		if e.Status == 0 {
			return blameEndpoint
		}
		return blameDoubtful
	}
	return blameNobody
}

// voiceOf returns who speaks when a connection fails.
func voiceOf(key tokenstore.Key) tokenstore.Key {
	if key.Org == "" {
		return key
	}
	return tokenstore.Key{Org: key.Org}
}

// hear takes note of a failure of who's, and reports whether it is his first of the
// row.
func (b breaker) hear(now time.Time, who tokenstore.Key, l blame, f failure) (_ breaker, first bool) {
	first = true
	var voices []voice
	for _, v := range b.voices {
		switch {
		case v.who == who:
			first = false
		case since(v.at, now) < endpointMemory:
			voices = append(voices, v)
		}
	}
	voices = append(voices, voice{who, l, now, now.Add(min(f.retryAfter, longestRetryAfter))})
	b.voices = voices[max(0, len(voices)-maxVoices):]
	b.why, b.at = f, now
	return b, first
}

// blamed reports whether the last failure, of which l says whom it is about, opens
// the breaker. One about the client does at once: whoever got through lately asked
// with the same, so it was withdrawn since. Else that speaks against it: then answers
// are about those who got them, and only those without doubt count.
func (b breaker) blamed(now time.Time, l blame) bool {
	well := !b.success.IsZero() && since(b.success, now) < successMemory
	switch {
	case l == blameClient:
		return true
	case well && l == blameDoubtful:
		return false
	}
	n := 0
	for _, v := range b.voices {
		if !well || v.blame == l {
			n++
		}
	}
	return n >= endpointFailures
}

// asked returns until when the endpoint asked for a pause: as long as enough
// organizations were told, so that one that is throttled holds up nobody else.
func (b breaker) asked() time.Time {
	if len(b.voices) < endpointFailures {
		return time.Time{}
	}
	var ends []time.Time
	for _, v := range b.voices {
		ends = append(ends, v.asked)
	}
	slices.SortFunc(ends, func(x, y time.Time) int { return y.Compare(x) })
	return ends[endpointFailures-1]
}

// failed returns the breaker after a failure of key's, of which l says whom it is
// about. probe: it was the probe's; forced: a person's.
func (b breaker) failed(now time.Time, key tokenstore.Key, l blame, f failure, probe, forced bool) breaker {
	open := !b.until.IsZero()
	b, first := b.hear(now, voiceOf(key), l, f)
	switch {
	case open && !probe:
		// It was sent before the breaker opened. All it can add is a longer pause.
		if asked := b.asked(); asked.After(b.until) {
			b.until = asked
		}
	case open && (forced || l == blameDoubtful && !first):
		// Nothing new: a person may ask as often as he likes, and who was refused
		// before is refused again. The next one finds out when the pause ends.
		b.probing = false
	case open || b.blamed(now, l):
		b.openings++
		b.until, b.probing = now.Add(b.pause(l)), false
		if asked := b.asked(); asked.After(b.until) {
			b.until = asked
		}
	}
	return b
}

// pause is how long nothing is sent after an opening. In doubt it begins short: the
// next one may well get through.
func (b breaker) pause(l blame) time.Duration {
	f := failure{class: b.why.class, jitter: b.why.jitter}
	if l == blameDoubtful {
		f.class = ClassTransient
	}
	return coolDown(f, b.openings)
}

// over reports whether nothing is lost by forgetting b.
func (b breaker) over(now time.Time) bool {
	return !b.probing && !before(now, b.until) && since(b.at, now) >= endpointMemory &&
		since(b.success, now) >= successMemory
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
