package oauthtest

import (
	"net/http"
	"strings"
	"sync"
)

// Provider is the test provider. It is an http.Handler, starts no goroutine and
// needs no Close. Safe for concurrent use.
type Provider struct {
	config Config
	mux    *http.ServeMux

	mu      sync.Mutex // never held while a reply is being sent or waited for
	state   state
	saved   []byte // the state as it is on disk
	queues  map[On][]Step
	always  map[On]Step
	down    bool
	journal journal
}

// New returns a provider, with the state of Config.StateFile if there is one. It
// fails for a configuration that contradicts itself, and for a state file that
// cannot be read or written.
func New(config Config) (*Provider, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	p := &Provider{
		config: config, queues: map[On][]Step{}, always: map[On]Step{},
		journal: journal{
			counts:    Counts{Requests: map[string]int{}},
			presented: map[string]int{}, succeeded: map[string]int{},
		},
	}
	if config.StateFile == "" {
		p.state = newState()
	} else if err := p.load(); err != nil {
		return nil, err
	}
	p.mux = p.routes()
	return p, nil
}

func (p *Provider) routes() *http.ServeMux {
	mux := http.NewServeMux()
	const v2 = "/{tenant}/oauth2/v2.0/"
	mux.HandleFunc("GET "+v2+"authorize", p.authorize)
	mux.HandleFunc("POST "+v2+"signin", p.signIn)
	mux.HandleFunc("POST "+v2+"consent", p.consent)
	mux.HandleFunc("POST "+v2+"token", p.serve(endpoint{Token, p.token}))
	mux.HandleFunc("POST "+v2+"revoke", p.serve(endpoint{Revocation, p.revoke}))
	mux.HandleFunc("GET /v1.0/users", p.serve(endpoint{API, p.users}))
	mux.HandleFunc("GET /style.css", serveStyle)
	mux.HandleFunc("GET /{$}", p.home)
	return mux
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.isDown() {
		reset(w)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	p.mux.ServeHTTP(w, r)
}

func (p *Provider) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

// Endpoints are a provider's URLs. {entity_id} in them stands for a tenant, or
// for "common".
type Endpoints struct {
	AuthorizationURL string
	TokenURL         string
	RevocationURL    string
	UsersURL         string
}

// At returns the URLs of a provider that is served at origin ("http://127.0.0.1:9400").
func At(origin string) Endpoints {
	origin = strings.TrimSuffix(origin, "/")
	v2 := origin + "/{entity_id}/oauth2/v2.0/"
	return Endpoints{v2 + "authorize", v2 + "token", v2 + "revoke", origin + "/v1.0/users"}
}

// Endpoints returns the URLs that [Provider.RoundTripper] answers.
func (p *Provider) Endpoints() Endpoints {
	e := At(p.config.URL)
	e.UsersURL = At(p.config.APIURL).UsersURL
	return e
}

// For returns the URLs with a tenant in the place of {entity_id}, for clients
// without templates.
func (e Endpoints) For(tenant string) Endpoints {
	fill := func(s string) string { return strings.ReplaceAll(s, "{entity_id}", tenant) }
	return Endpoints{fill(e.AuthorizationURL), fill(e.TokenURL), fill(e.RevocationURL), e.UsersURL}
}

// origin is where the request was sent to: links back to the provider begin so.
func origin(r *http.Request) string {
	switch {
	case r.URL.Scheme != "": // in process
		return r.URL.Scheme + "://" + r.Host
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// issuer is what a tenant's tokens and responses name as their issuer.
func (p *Provider) issuer(r *http.Request, t *Tenant) string {
	if p.config.Issuer != "" {
		return p.config.Issuer
	}
	return origin(r) + "/" + t.GUID() + "/v2.0"
}
