package oauthflow

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// breakerKey says which requests share a fate. Not the provider as such: a tenant
// that was removed is refused at its own token URL, and must not stop the others.
// Where customers share one, their breaker tells them apart.
type breakerKey struct {
	definition string
	tokenURL   string // expanded
	clientID   string
	// secret is a hash of the client's: what was mended is tried at once.
	secret [sha256.Size]byte
}

// breakerOf returns the key for requests to one of t's endpoints.
func breakerOf(t Target, field string) (breakerKey, error) {
	endpoint, err := t.Client.endpoint(field, withEntity(t.EntityID, t.Values))
	return breakerKey{
		definition: t.Key.Definition, tokenURL: endpoint, clientID: t.Client.ClientID,
		secret: sha256.Sum256([]byte(string(t.Client.ClientAuth) + "\x00" + t.Client.ClientSecret.Reveal())),
	}, err
}

// refreshBreaker returns the key for the requests that renew t's tokens.
func refreshBreaker(t Target) (breakerKey, error) {
	if t.Client.Flow == ClientCredentials {
		return breakerOf(t, "TokenURL")
	}
	return breakerOf(t, t.Client.refreshField())
}

// breakers are the manager's, of the endpoints that were asked lately.
type breakers struct {
	mu  sync.Mutex
	all map[breakerKey]breaker
}

// maxBreakers bounds how many are remembered.
const maxBreakers = 4096

// refusal is why and for how long a request may not be sent.
type refusal struct {
	why      failure
	wait     time.Duration
	openings int // of the breaker, in a row
}

// error is the error for a connection without a usable token meanwhile.
func (r *refusal) error(key tokenstore.Key, status tokenstore.Status) *ConnectionError {
	return &ConnectionError{
		Kind: ErrUnavailable, Key: key, Status: status, Reason: string(r.why.class), Code: r.why.code,
		Message:    r.why.message + " Until somebody has got through, nothing is sent for its other connections either.",
		RetryAfter: (max(0, r.wait) + time.Millisecond - 1).Truncate(time.Millisecond),
	}
}

// ask reports whether a request would be refused now.
func (s *breakers) ask(key breakerKey, forced bool) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.all[key]
	if a := b.admit(time.Now(), forced); a.refused {
		return &refusal{b.why, a.wait, b.openings}
	}
	return nil
}

// enter asks to send a request for a connection. What is returned is to be told
// what came of it; [pass.leave] says that nothing did.
func (s *breakers) enter(key breakerKey, connection tokenstore.Key, forced bool) (*pass, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.all[key]
	a := b.admit(time.Now(), forced)
	if a.refused {
		return nil, &refusal{b.why, a.wait, b.openings}
	}
	if a.probe {
		b.probing = true
		s.all[key] = b
	}
	return &pass{breakers: s, key: key, connection: connection, probe: a.probe, forced: forced}, nil
}

// open returns how many are open.
func (s *breakers) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, b := range s.all {
		if !b.until.IsZero() {
			n++
		}
	}
	return n
}

// put remembers what is known of an endpoint. s.mu is held.
func (s *breakers) put(now time.Time, key breakerKey, b breaker) {
	if s.all == nil {
		s.all = map[breakerKey]breaker{}
	}
	if _, known := s.all[key]; !known {
		s.bound(now)
	}
	s.all[key] = b
}

// bound makes room for one more. What is closed goes first, and more of it than
// needed, so that not every new endpoint is a walk over all. s.mu is held.
func (s *breakers) bound(now time.Time) {
	if len(s.all) < maxBreakers {
		return
	}
	for key, b := range s.all {
		if b.over(now) {
			delete(s.all, key)
		}
	}
	for key, b := range s.all {
		if len(s.all) < maxBreakers*3/4 {
			return
		}
		if b.until.IsZero() {
			delete(s.all, key)
		}
	}
	for key := range s.all {
		if len(s.all) < maxBreakers {
			return
		}
		delete(s.all, key) // asking once too often is better than growing for ever
	}
}

// pass is one request that a breaker let through.
type pass struct {
	*breakers

	key        breakerKey
	connection tokenstore.Key
	probe      bool
	forced     bool // by a person
}

// succeeded closes the breaker.
func (p *pass) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.put(now, p.key, breaker{success: now})
	p.probe = false
}

// failed takes note of a failure, whosever it is. jitter is its connection's, so
// that both pauses end together.
func (p *pass) failed(e *TokenError, c *Client, jitter float64) {
	l := blameFor(e)
	switch {
	case answered(e):
		p.succeeded()
		return
	case l == blameNobody:
		return
	}
	shown := *e
	shown.Description = "" // it may be about the one connection, and others will see it
	f := explain(&shown, c)
	f.jitter = jitter
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.put(now, p.key, p.all[p.key].failed(now, p.connection, l, f, p.probe, p.forced))
	p.probe = false
}

// leave lets the next one find out, if this request was to and did not.
func (p *pass) leave() {
	if !p.probe {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probe = false
	if b, ok := p.all[p.key]; ok {
		b.probing = false
		p.all[p.key] = b
	}
}
