package oauthtest

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"
)

// journalSize is how many requests, and how many secrets, are remembered.
// Counts go on.
const journalSize = 20_000

// Request is one entry of the journal: a request that reached the token
// endpoint, answered or not. Tokens are in it as hex SHA-256 only.
type Request struct {
	At     time.Time // when it had been read
	Grant  string    // grant_type
	Client string    // client_id, if the body has it
	Tenant string    // as in the URL
	// Scope and Audience are what was asked for, by the parameters of these names.
	Scope    string
	Audience string
	// RefreshToken is the one that was presented, Family whose it is; empty for
	// none, or a forgery.
	RefreshToken string
	Family       string
	// Presentation counts how often this refresh token has been presented, this
	// time included. AfterSuccessor: a successor of it had been delivered before.
	Presentation   int
	AfterSuccessor bool
	// Scripted: a step decided the reply.
	Scripted bool
	// Status and Error are the reply's; Status 0: none was sent, or not yet.
	Status int
	Error  string
	// Granted is the reply's scope.
	Granted string
	// Delivered: the reply was written whole, as far as the server can tell.
	Delivered bool
}

// Counts are sums over the provider's life in this process.
type Counts struct {
	// Requests that reached the token endpoint, by grant_type.
	Requests map[string]int
	// Repeated are refresh tokens' presentations beyond the first of each.
	Repeated int
	// AfterSuccessor are presentations of a refresh token whose successor had been
	// delivered: what a client must never do.
	AfterSuccessor int
	// Reuse are presentations that killed a family.
	Reuse int
	// Revocations are requests to the revocation endpoint.
	Revocations int
	// API are requests to the users endpoint, Unauthorized those answered 401.
	API, Unauthorized int
}

// Total is the number of token requests.
func (c Counts) Total() int {
	n := 0
	for _, k := range c.Requests {
		n += k
	}
	return n
}

// entry is a Request and what is needed to keep it up to date.
type entry struct {
	Request
	on        On
	successor bool // a delivered successor was booked
}

// journal is guarded by Provider.mu.
type journal struct {
	entries   []*entry
	counts    Counts
	presented map[string]int // refresh tokens' fingerprints → presentations
	succeeded map[string]int // how many delivered successors each has
	secrets   []string
}

// Journal returns the requests to the token endpoint, oldest first: the last
// twenty thousand.
func (p *Provider) Journal() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := make([]Request, len(p.journal.entries))
	for i, e := range p.journal.entries {
		requests[i] = e.Request
	}
	return requests
}

// Counts returns the sums so far.
func (p *Provider) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.journal.counts
	c.Requests = maps.Clone(c.Requests)
	return c
}

// Secrets returns every code, token and verifier that was handed out or
// presented, and the clients' secrets: what must not be found in a log, a page or
// a database. The last twenty thousand.
func (p *Provider) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	secrets := slices.Clone(p.journal.secrets)
	for _, c := range p.config.Clients {
		if c.Secret != "" {
			secrets = append(secrets, c.Secret)
		}
	}
	return secrets
}

func (p *Provider) remember(secrets ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range secrets {
		if s != "" {
			p.journal.secrets = append(p.journal.secrets, s)
		}
	}
	p.journal.secrets = newest(p.journal.secrets)
}

// newest drops the older half when a slice has grown too long.
func newest[T any](s []T) []T {
	if len(s) < 2*journalSize {
		return s
	}
	return slices.Clone(s[len(s)-journalSize:])
}

// arrived books a request, before anything is done about it.
func (p *Provider) arrived(x *Exchange, scripted bool) *entry {
	for _, name := range []string{"refresh_token", "code", "code_verifier", "token"} {
		p.remember(x.form.Get(name))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	j := &p.journal
	e := &entry{on: x.endpoint.on, Request: Request{
		At: p.config.Now(), Grant: x.form.Get("grant_type"), Client: x.form.Get("client_id"),
		Tenant: x.request.PathValue("tenant"), Scope: x.form.Get("scope"), Audience: x.form.Get("audience"), Scripted: scripted,
	}}
	switch e.on {
	case Revocation:
		j.counts.Revocations++
		return e
	case API:
		j.counts.API++
		return e
	}
	j.counts.Requests[e.Grant]++
	if token := x.form.Get("refresh_token"); token != "" && e.Grant == string(Refresh) {
		e.RefreshToken = fingerprint(token)
		e.Family, _, _ = p.state.parseRefreshToken(token)
		j.presented[e.RefreshToken]++
		e.Presentation = j.presented[e.RefreshToken]
		e.AfterSuccessor = j.succeeded[e.RefreshToken] > 0
		if e.Presentation > 1 {
			j.counts.Repeated++
		}
		if e.AfterSuccessor {
			j.counts.AfterSuccessor++
		}
	}
	j.entries = append(j.entries, e)
	if len(j.entries) >= 2*journalSize {
		for _, old := range j.entries[:journalSize] {
			delete(j.presented, old.RefreshToken)
			delete(j.succeeded, old.RefreshToken)
		}
	}
	j.entries = newest(j.entries)
	return e
}

// answering books a reply of which something leaves.
func (p *Provider) answering(e *entry, r *Reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Status = cmp.Or(r.Status, http.StatusOK)
	e.Error, _ = r.Members["error"].(string)
	e.Granted, _ = r.Members["scope"].(string)
	if e.on == API && e.Status == http.StatusUnauthorized {
		p.journal.counts.Unauthorized++
	}
}

// delivering books that the last byte of a reply is about to leave.
func (p *Provider) delivering(e *entry, r *Reply) {
	delivers := r.delivers()
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Delivered = true
	if delivers {
		e.successor = true
		p.journal.succeeded[e.RefreshToken]++
	}
}

// undelivered takes back what delivering booked: the reply did not get through.
func (p *Provider) undelivered(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Delivered = false
	if e.successor {
		e.successor = false
		p.journal.succeeded[e.RefreshToken]--
	}
}
