package oauthtest

import "net/http"

// On says which requests a script is for.
type On string

// What can be scripted.
const (
	// Token is the token endpoint, whatever the grant.
	Token On = "token"
	// Code, Refresh and ClientCredentials are the token endpoint's requests with that
	// grant_type.
	Code              On = "authorization_code"
	Refresh           On = "refresh_token"
	ClientCredentials On = "client_credentials"
	// Revocation is the RFC 7009 endpoint.
	Revocation On = "revocation"
	// API is the users endpoint.
	API On = "api"
)

// Step is what happens to one request. Ready ones are in faults.go; [Do] makes
// your own.
type Step struct {
	run func(*Exchange)
	// early steps come before the request is read.
	early bool
}

// Do is a step of your own. A function that neither sends nor resets lets the
// provider answer as usual.
func Do(f func(*Exchange)) Step { return Step{run: f} }

// endpoint is what a scripted route does when no step says otherwise.
type endpoint struct {
	on      On
	process func(*Exchange) *Reply
}

// Script queues steps: the next requests of that kind take one each. A request
// looks into the queue of its grant (Code, Refresh, …) first, then into Token's.
func (p *Provider) Script(on On, steps ...Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queues[on] = append(p.queues[on], steps...)
}

// Always sets what happens to requests that find no queued step. [Serve] takes
// it back.
func (p *Provider) Always(on On, step Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.always[on] = step
}

// Pending returns how many queued steps have not been taken yet.
func (p *Provider) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, queue := range p.queues {
		n += len(queue)
	}
	return n
}

// SetDown makes the provider unreachable, or reachable again. In process, every
// request fails as if nobody listened, before a byte of it is read; over sockets
// the connection is reset.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// takeEarly takes the next step of on if it wants to come before the request is
// read.
func (p *Provider) takeEarly(on On) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue := p.queues[on]
	if len(queue) > 0 && queue[0].early {
		p.queues[on] = queue[1:]
		return true
	}
	return len(queue) == 0 && p.always[on].early
}

// take returns the step for a request: the first queued one of the given kinds,
// else what Always said, else none.
func (p *Provider) take(kinds ...On) (step Step, scripted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, on := range kinds {
		if queue := p.queues[on]; len(queue) > 0 {
			p.queues[on] = queue[1:]
			return queue[0], true
		}
	}
	for _, on := range kinds {
		if step := p.always[on]; step.run != nil || step.early {
			return step, true
		}
	}
	return Step{}, false
}

// serve is the handler of a scripted endpoint.
func (p *Provider) serve(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p.takeEarly(e.on) {
			reset(w)
			return
		}
		x := &Exchange{provider: p, endpoint: e, w: w, request: r}
		kinds := []On{e.on}
		if r.Method == http.MethodPost {
			x.form, x.formErr = readForm(r)
			if e.on == Token {
				kinds = []On{On(x.form.Get("grant_type")), Token}
			}
		}
		step, scripted := p.take(kinds...)
		x.entry = p.arrived(x, scripted)
		if step.early {
			x.Reset()
			return
		}
		if step.run != nil {
			step.run(x)
		}
		if !x.sent && r.Context().Err() == nil {
			x.Send(x.Process())
		}
	}
}
