package integrations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Config is what a [Registry] needs. bifrost.New fills it in.
type Config struct {
	// BaseURL is where the host mounted Bifrost: scheme, host and path. Redirect
	// URIs and connect links begin with it. Required.
	BaseURL *url.URL
	// Tokens keeps connections and flows. Required.
	Tokens tokenstore.Store
	// Sealer seals tokens before they reach the store. Required.
	Sealer *tokenstore.Sealer
	// SingleTenant makes the global scope the default instead of an error.
	SingleTenant bool
	// Transport makes token requests; nil means oauthflow.NewTransport().
	Transport http.RoundTripper
	// APITransport makes the API requests of Integration.Client; nil means
	// http.DefaultTransport.
	APITransport http.RoundTripper
	// Staleness is how old this process's knowledge of a connection may be before
	// Get reads the record again; default 1 s.
	Staleness time.Duration
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Registry holds the definitions, and resolves names to connections. It is safe
// for concurrent use. Make one with [New], or let bifrost.New.
type Registry struct {
	cfg   Config
	flows *oauthflow.Manager

	mu   sync.Mutex // held to change defs
	defs atomic.Pointer[definitions]

	slots slotMap
}

// definitions is an immutable set; changing it means replacing it.
type definitions struct {
	byID   map[string]*definition
	byName map[defName]*definition
}

type defName struct{ org, name string }

// New makes a registry. It starts nothing; see [Registry.Run].
func New(cfg Config) (*Registry, error) {
	if cfg.BaseURL == nil || cfg.Tokens == nil || cfg.Sealer == nil {
		return nil, errors.New("integrations: Config needs BaseURL, Tokens and Sealer")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.APITransport == nil {
		cfg.APITransport = http.DefaultTransport
	}
	r := &Registry{cfg: cfg}
	r.defs.Store(&definitions{})
	flows, err := oauthflow.New(oauthflow.Config{
		Store: cfg.Tokens, Sealer: cfg.Sealer, Targets: r, Transport: cfg.Transport,
		Logger: cfg.Logger, Staleness: cfg.Staleness, Secure: cfg.BaseURL.Scheme == "https",
	})
	if err != nil {
		return nil, err
	}
	r.flows = flows
	return r, nil
}

// Run follows changes made by other processes until ctx ends. Without it Get
// works too, but reads the record every time.
func (r *Registry) Run(ctx context.Context) error { return r.flows.Run(ctx) }

// Close refuses new refreshes and waits for those under way, a bounded time. It
// is idempotent.
func (r *Registry) Close() error { return r.flows.Close() }

// Define adds a definition from code. Its id follows from Org and Name, so the
// connections of earlier runs attach to it. Defining a name twice is an error.
func (r *Registry) Define(d Definition) error {
	def, err := newDefinition(d, r.cfg.BaseURL)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.defs.Load()
	if _, taken := old.byID[def.id]; taken {
		return fmt.Errorf("integrations: definition %q: defined already%s; names are unique", d.Name, ownedBy(d.Org))
	}
	next := &definitions{byID: maps.Clone(old.byID), byName: maps.Clone(old.byName)}
	if next.byID == nil {
		next.byID, next.byName = map[string]*definition{}, map[defName]*definition{}
	}
	next.byID[def.id] = def
	next.byName[defName{d.Org, d.Name}] = def
	r.defs.Store(next)
	return nil
}

func ownedBy(org string) string {
	if org == "" {
		return ""
	}
	return fmt.Sprintf(" for organization %q", org)
}

// lookup returns the definition that a name means in a scope: the
// organization's own, else the global one.
func (r *Registry) lookup(name string, s scope.Scope) (*definition, error) {
	defs := r.defs.Load()
	if s.Kind == scope.Org {
		if d := defs.byName[defName{s.Org, name}]; d != nil {
			return d, nil
		}
	}
	if d := defs.byName[defName{"", name}]; d != nil {
		return d, nil
	}
	if !namePattern.MatchString(name) {
		name = "" // nothing a stranger sent belongs into an error
	}
	e := &Error{Integration: name, Kind: ErrNotFound, Org: s.Org}
	if len(defs.byID) == 0 {
		e.Detail = "nothing is defined yet: call bf.Integrations.Define before Get"
	}
	return nil, e
}

// visible returns the definitions that a scope sees, by name. In the global scope
// these are all, organizations' own included.
func (r *Registry) visible(s scope.Scope) []*definition {
	defs := r.defs.Load()
	var list []*definition
	for _, d := range defs.byID {
		own := defs.byName[defName{s.Org, d.Name}]
		if s.Kind == scope.Global || d.Org == s.Org || d.Org == "" && own == nil {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *definition) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Org, b.Org))
	})
	return list
}

// Target implements oauthflow.Targets: what is needed to talk to the provider on
// behalf of a stored connection.
func (r *Registry) Target(_ context.Context, key tokenstore.Key) (oauthflow.Target, error) {
	d := r.defs.Load().byID[key.Definition]
	if d == nil || d.OAuth == nil {
		return oauthflow.Target{}, &Error{Kind: ErrNotFound, Org: key.Org, Detail: "its definition is gone"}
	}
	return d.target(key), nil
}

// connectURL is where a person can connect d in org.
func (r *Registry) connectURL(d *definition, org string) string {
	u := r.cfg.BaseURL.JoinPath("oauth", "connect", d.Name)
	if org != "" {
		u.RawQuery = url.Values{"org": {org}}.Encode()
	}
	return u.String()
}
