package integrations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/internal/promap"
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
	// Definitions keeps definitions made at run time, and settings. Required.
	Definitions Store
	// InTx runs fn so that what it writes to Tokens and Definitions, with the context
	// that it gets, is kept together or not at all. Nil: each write stands alone, and
	// a process that dies between two of them leaves the first.
	InTx func(ctx context.Context, fn func(ctx context.Context) error) error
	// Sealer seals tokens before they reach the store. Required.
	Sealer *tokenstore.Sealer
	// SingleTenant makes the global scope the default instead of an error.
	SingleTenant bool
	// Transport makes token requests; nil means oauthflow.NewTransport().
	Transport http.RoundTripper
	// APITransport makes the API requests of Integration.Client; nil means
	// http.DefaultTransport.
	APITransport http.RoundTripper
	// Staleness is how old this process's knowledge of a connection or a definition
	// may be before Get reads it again; default 1 s.
	Staleness time.Duration
	// Egress opens destinations, beside public addresses over https, that definitions
	// made at run time may reach; see bifrost.Config.Egress.
	Egress []string
	// EgressProxy lets requests of definitions made at run time go through the
	// environment's proxy; see bifrost.Config.EgressProxy.
	EgressProxy bool
	// EventRetention is how long events are kept; 0: for good.
	EventRetention time.Duration
	// Refreshers is how many connections are renewed at once in the background;
	// default 16, negative: this process renews only what is asked for, and asks a
	// provider once only to revoke what was disconnected here.
	Refreshers int
	// KeepAlive is how often a connection is renewed that nobody uses; default 7 days.
	KeepAlive time.Duration
	// Events hears what happens to connections; see bifrost.Config.Events.
	Events func(Event)
	// Tracer is told of requests to providers; optional.
	Tracer oauthflow.Tracer
	// Timing are the spans of the refresh protocol; see bifrost.Config.Timing.
	Timing oauthflow.Timing
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Registry holds the definitions, and resolves names to connections. It is safe
// for concurrent use. Make one with [New], or let bifrost.New.
type Registry struct {
	cfg   Config
	flows *oauthflow.Manager
	out   *outbound

	mu   sync.Mutex // held to change defs
	defs atomic.Pointer[definitions]

	feed     *feed
	synced   atomic.Bool // the store was read once
	alarmed  atomic.Pointer[time.Time]
	settings promap.Map[SettingsKey, settingsEntry]
	everSet  everSet

	opening         flights[*definition, *definition]
	openingSettings flights[settingsText, *settings]

	// What Get found, by what it was asked for. Most calls choose no user, account
	// or access: theirs is the shorter key, which is found sooner.
	slots     promap.Map[defName, slot]
	moreSlots promap.Map[slotKey, slot]
	shared    promap.Map[string, atomic.Pointer[sharedSource]] // by definition
	rests     promap.Map[restKey, rest]
	tests     handLimit
	refreshes handLimit
}

// New makes a registry. It starts nothing; see [Registry.Run].
func New(cfg Config) (*Registry, error) {
	if cfg.BaseURL == nil || cfg.Tokens == nil || cfg.Definitions == nil || cfg.Sealer == nil {
		return nil, errors.New("integrations: Config needs BaseURL, Tokens, Definitions and Sealer")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.InTx == nil {
		cfg.InTx = func(ctx context.Context, fn func(ctx context.Context) error) error { return fn(ctx) }
	}
	if cfg.Staleness == 0 {
		cfg.Staleness = time.Second
	}
	r := &Registry{cfg: cfg, feed: newFeed()}
	r.defs.Store(newDefinitions(0, nil, nil))
	var err error
	if r.out, err = newOutbound(cfg); err != nil {
		return nil, err
	}
	r.flows, err = oauthflow.New(oauthflow.Config{
		Store: cfg.Tokens, Sealer: cfg.Sealer, Targets: r, Transport: cfg.Transport, Restricted: r.out.tokens, Also: r.sync,
		Events: r.listener(), Tracer: cfg.Tracer, Timing: cfg.Timing,
		Refreshers: max(0, cfg.Refreshers), KeepAlive: cfg.KeepAlive,
		Logger: cfg.Logger, Staleness: cfg.Staleness, Secure: cfg.BaseURL.Scheme == "https",
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Run follows changes made by other processes, and renews connections before
// anybody has to wait, until ctx ends. Without it Get works too, but reads the
// records every time. It also removes events that are older than
// Config.EventRetention, and complains if others change the sealing keys.
func (r *Registry) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { r.keepKeys(ctx) })
	if r.cfg.EventRetention > 0 {
		beside.Go(func() { r.prune(ctx) })
	}
	if r.cfg.Refreshers >= 0 {
		beside.Go(func() {
			if err := r.flows.KeepFresh(ctx); err != nil {
				r.cfg.Logger.ErrorContext(ctx, "integrations: nothing is renewed in the background", "error", err)
			}
		})
	}
	return r.flows.Run(ctx)
}

// Stats counts what was done for connections since the registry was made.
func (r *Registry) Stats() oauthflow.Stats { return r.flows.Stats() }

// Close refuses new refreshes and waits for those under way, a bounded time. It
// is idempotent.
func (r *Registry) Close() error {
	err := r.flows.Close()
	limit := time.After(openLimit)
	r.opening.close(limit)
	r.openingSettings.close(limit)
	return err
}

// Define adds a definition from code. Its id follows from Org and Name, so the
// connections of earlier runs attach to it. Defining a name twice is an error; a
// definition of that name made at run time is shadowed, with a warning. What is
// wrong with the definition is said by an *[InvalidError].
func (r *Registry) Define(d Definition) error {
	def, err := newDefinition(d, r.cfg.BaseURL)
	if err != nil {
		return fmt.Errorf("integrations: definition %q: %w", d.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.defs.Load()
	if old.code[def.id] != nil {
		return fmt.Errorf("integrations: definition %q: defined already%s; names are unique", d.Name, ownedBy(d.Org))
	}
	if stored := old.byName[def.owned()]; stored != nil {
		r.warnShadowed(stored)
	}
	r.defs.Store(old.withCode(def))
	r.warnGrace(def)
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
func (r *Registry) lookup(ctx context.Context, name string, s scope.Scope) (*definition, error) {
	if err := r.upToDate(ctx); err != nil {
		return nil, r.unread(ctx, name, s.Org, err)
	}
	defs := r.defs.Load()
	if d := defs.named(name, s); d != nil {
		return d, nil
	}
	return nil, defs.notFound(name, s)
}

// notFound is the error for a name that means nothing in a scope.
func (s *definitions) notFound(name string, in scope.Scope) error {
	if !namePattern.MatchString(name) {
		name = "" // nothing a stranger sent belongs into an error
	}
	e := &Error{Integration: name, Kind: ErrNotFound, Org: in.Org}
	if len(s.code)+len(s.stored) == 0 {
		e.Detail = "nothing is defined yet: call bf.Integrations.Define before Get"
	}
	return e
}

// unread is the error for what could not be read from a store. The cause is for
// the log: members may read the rest.
func (r *Registry) unread(ctx context.Context, name, org string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.alarm(ctx, err)
	if !namePattern.MatchString(name) {
		name = ""
	}
	return &Error{Integration: name, Org: org, Kind: ErrUnavailable, Err: err, Detail: "the store cannot be read"}
}

// unsealed is the error for what could not be sealed, and so is not stored. Keys in
// memory always seal.
func (r *Registry) unsealed(ctx context.Context, name, org string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.cfg.Logger.ErrorContext(ctx, "integrations: the key service does not seal", "integration", name, "org", org, "error", err)
	return &Error{Integration: name, Org: org, Kind: ErrUnavailable, Err: err,
		Detail: "the service that holds the sealing keys cannot be asked at the moment, and nothing was stored; try again later"}
}

// unwritten is the error for a change that a store has not confirmed. Its answers,
// and ours within a transaction, stay what they are.
func (r *Registry) unwritten(ctx context.Context, name, org string, err error) error {
	var answer *Error
	switch {
	case errors.As(err, &answer), errors.Is(err, ErrConflict):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	r.cfg.Logger.ErrorContext(ctx, "integrations: the store has not confirmed a change", "integration", name, "org", org, "error", err)
	return &Error{Integration: name, Org: org, Kind: ErrUnavailable, Err: err, Detail: "the store has not confirmed the change; look before it is repeated"}
}

// Target implements oauthflow.Targets: what is needed to talk to the provider on
// behalf of a stored connection.
func (r *Registry) Target(ctx context.Context, key tokenstore.Key) (oauthflow.Target, error) {
	if err := r.upToDate(ctx); err != nil {
		return oauthflow.Target{}, r.unread(ctx, "", key.Org, err)
	}
	if d := r.defs.Load().byID(key.Definition); d != nil {
		if _, err := r.again(ctx, d); err != nil {
			return oauthflow.Target{}, err
		}
	}
	return r.targetOf(ctx, key)
}

// Confirm reports, as the store has it at this moment, whether the definition of a
// connection is still there; see oauthflow.Targets.
func (r *Registry) Confirm(ctx context.Context, key tokenstore.Key) error {
	if err := r.sync(ctx); err != nil {
		return err
	}
	_, err := r.targetOf(ctx, key)
	return err
}

// targetOf is Target from what is known. It may be called within a transaction.
func (r *Registry) targetOf(ctx context.Context, key tokenstore.Key) (oauthflow.Target, error) {
	d := r.defs.Load().byID(key.Definition)
	switch {
	case d == nil || d.fault == nil && d.OAuth == nil:
		return oauthflow.Target{}, &Error{Kind: ErrNotFound, Org: key.Org, Detail: "its definition is gone", Err: oauthflow.ErrGone}
	case d.fault != nil:
		return oauthflow.Target{}, d.broken(key.Org)
	}
	e, err := r.effective(ctx, d, key.Org)
	if err != nil {
		return oauthflow.Target{}, err
	}
	return r.target(d, e, key), nil
}

// connectURL is where a person can connect what c is about.
func (r *Registry) connectURL(d *definition, c choice) string {
	if !d.interactive() {
		return ""
	}
	u, query := r.cfg.BaseURL.JoinPath("oauth", "connect", d.Name), url.Values{}
	for name, value := range map[string]string{"org": c.scope.Org, "user": c.user, "account": c.account} {
		if value != "" {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}
