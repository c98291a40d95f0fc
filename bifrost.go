package bifrost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/loopback"
	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// Config is what [New] needs. BaseURL, Store and Keys are required.
type Config struct {
	// BaseURL is where browsers reach Bifrost: scheme, host and the path the
	// adapter is mounted at, such as https://app.example.com. http is accepted for
	// this machine only (localhost, 127.0.0.1). Redirect URIs follow from it, never
	// from request headers.
	BaseURL string

	// Store is where everything is kept: sqlite.Open, postgres.Open, or [Memory]
	// for tests. The caller closes it, after [Bifrost.Close].
	Store Store

	// Tokens replaces Store's token store alone; optional. It takes no part in Store's
	// transactions, so it must not be another handle on Store's database, which would
	// wait for itself. If it has a method Ping(context.Context) error, [Bifrost.Ready]
	// asks it, too.
	Tokens tokenstore.Store

	// Keys seals secrets before they reach the store: a tokenstore.Keyring, or any
	// Tink AEAD.
	Keys tokenstore.AEAD

	// SingleTenant is for hosts without organizations: a call without a scope is
	// about the global connection, instead of an error.
	SingleTenant bool

	// Staleness is how long a change made by another process may stay unseen;
	// default 1 s. A store that hears of changes (postgres.Listen) shows them at
	// once, so more costs little there: it is how long they may stay unseen while it
	// hears nothing.
	Staleness time.Duration

	// Transport makes requests to token endpoints; default
	// oauthflow.NewTransport(). It must not follow redirects or repeat requests. Of
	// one that is not an *http.Transport nobody knows where it dials: for it Egress can
	// only look names up before each request, and proxies are its own business.
	Transport http.RoundTripper

	// APITransport makes the API requests of Integration.Client; default
	// http.DefaultTransport. For Egress the same holds as for Transport.
	APITransport http.RoundTripper

	// Egress opens destinations to definitions that are made at run time, or have a
	// variable host. Without it their requests reach public addresses alone, over
	// https at port 443, so that nobody who may create an integration can make this
	// server talk to its own network. An entry is an address or a prefix
	// ("10.0.0.0/8", "127.0.0.1:9000"), or a name or "*.suffix" that may then resolve
	// to any address ("idp.corp.example:8443"); without a port it opens all ports.
	// Definitions from code are not restricted.
	Egress []string

	// EgressProxy says that the environment's proxy (HTTPS_PROXY) refuses private
	// addresses itself. Without it the requests that Egress is about do not go
	// through that proxy, because only the proxy sees where they end.
	EgressProxy bool

	// EventRetention is how long the history of connections and definitions is kept;
	// 0: for good.
	EventRetention time.Duration

	// Refreshers is how many connections are renewed at once in the background; default
	// 16. Negative: none, so that this process renews only what is asked for, and asks a
	// provider only once to revoke what was disconnected here.
	Refreshers int

	// KeepAlive is how often a connection is renewed that nobody uses, so that its
	// grant stays alive, or is seen to be dead; default 7 days. Connections that were
	// used within a day are renewed shortly before their access token ends.
	KeepAlive time.Duration

	// Events hears what happens to connections (connected, refreshed, failed, to be
	// connected again, healed, disconnected, revoked), after it was stored: one call at
	// a time, those of one connection in order, in the process where it happened. It never
	// holds up a refresh. If it is slow, events wait, and beyond a thousand they are
	// dropped: what must not be missed is in the history. Optional.
	Events func(integrations.Event)

	// Tracer is told of each request to a provider before and after, and, if it is an
	// oauthflow.PassTracer, of each look at what is due; optional. With it, and with
	// Integrations.Stats, any telemetry library can be fed.
	Tracer oauthflow.Tracer

	// Timing are the spans of the refresh protocol: how long a request may take, and
	// when another process may act after a crash; default is what fits every provider.
	// All processes on one Store should have the same. docs/refresh.md says which suit a
	// provider that forgives for a short time (oauthflow.Provider.ReuseGrace).
	Timing oauthflow.Timing

	// Logger defaults to slog.Default(). No secret is logged at any level.
	Logger *slog.Logger
}

// Store is where a Bifrost keeps everything. Packages sqlite and postgres have one;
// [Memory] is for tests.
type Store interface {
	Tokens() tokenstore.Store
	Definitions() integrations.Store
	Executions() workflow.Store
	// InTx calls fn with a context in which all that these stores write commits
	// together, or not at all if fn returns an error, which is returned unchanged, or
	// panics; what they read includes what fn has written. Fn must be quick, use that
	// context for all its calls of the stores, and return the errors it gets, but for
	// answers such as integrations.ErrConflict. InTx within fn joins.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Ping reports whether the store can be reached and is migrated.
	Ping(ctx context.Context) error
	Close() error
}

// Bifrost ties the rooms together. Make one with [New].
type Bifrost struct {
	// Integrations holds definitions and connections.
	Integrations *integrations.Registry
	// Workflows holds registered workflows and their executions.
	Workflows *workflow.Registry

	baseURL *url.URL
	store   Store
	tokens  tokenstore.Store
	log     *slog.Logger

	mu     sync.Mutex
	state  state
	cancel context.CancelFunc
	done   chan struct{} // closed when the follower of changes has ended
	closed chan struct{} // closed when Close is done
	result error         // what Close returned
}

type state uint8

const (
	stateNew state = iota
	stateStarted
	stateClosed
)

// Secret wraps text so that nothing prints it.
func Secret(text string) tokenstore.Secret { return tokenstore.NewSecret(text) }

// keyCheckTimeout bounds New's look at the store.
const keyCheckTimeout = 15 * time.Second

// New checks the configuration, and that Keys opens what the store holds. It
// starts nothing: call [Bifrost.Start] once everything is defined.
func New(cfg Config) (*Bifrost, error) {
	base, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		return nil, errors.New("bifrost: Config.Store is missing: use sqlite.Open(\"bifrost.db\"), or bifrost.Memory() in tests")
	}
	if cfg.Keys == nil {
		return nil, errors.New("bifrost: Config.Keys is missing: secrets are never stored unsealed. Make a key once with " +
			"tokenstore.GenerateKey(), keep it outside the database, and pass tokenstore.ParseKeyring(key)")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	tokens := cfg.Tokens
	if tokens == nil {
		tokens = cfg.Store.Tokens()
	}
	sealer := tokenstore.NewSealer(cfg.Keys)
	ctx, cancel := context.WithTimeout(context.Background(), keyCheckTimeout)
	defer cancel()
	if err := sealer.Verify(ctx, tokens); err != nil {
		return nil, fmt.Errorf("bifrost: Config.Keys: %w", err)
	}
	if cfg.EventRetention < 0 {
		return nil, errors.New("bifrost: Config.EventRetention is negative: leave it 0 to keep events for good")
	}
	registry, err := integrations.New(integrations.Config{
		BaseURL: base, Tokens: tokens, Definitions: cfg.Store.Definitions(), InTx: cfg.Store.InTx, Sealer: sealer,
		SingleTenant: cfg.SingleTenant, Staleness: cfg.Staleness, Egress: cfg.Egress, EgressProxy: cfg.EgressProxy,
		EventRetention: cfg.EventRetention, Refreshers: cfg.Refreshers, KeepAlive: cfg.KeepAlive, Events: cfg.Events, Tracer: cfg.Tracer, Timing: cfg.Timing,
		Transport: cfg.Transport, APITransport: cfg.APITransport, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	b := &Bifrost{Integrations: registry, baseURL: base, store: cfg.Store, tokens: tokens, log: cfg.Logger, closed: make(chan struct{})}
	b.Workflows, err = workflow.New(workflow.Config{
		Store: cfg.Store.Executions(), Logger: cfg.Logger, Context: b.context,
	})
	if err != nil {
		return nil, errors.Join(err, registry.Close())
	}
	return b, nil
}

// Start begins background work: following other processes' changes, renewing
// connections before anybody has to wait, and running workflows. It returns at once; the work ends with ctx or [Bifrost.Close].
// Starting twice, or after Close, is an error.
func (b *Bifrost) Start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case stateStarted:
		return errors.New("bifrost: Start was called already")
	case stateClosed:
		return errors.New("bifrost: Start after Close: make a new Bifrost instead")
	}
	ctx, cancel := context.WithCancel(ctx)
	if err := b.Workflows.Start(ctx); err != nil {
		cancel()
		return err
	}
	b.state, b.cancel, b.done = stateStarted, cancel, make(chan struct{})
	go func() {
		defer close(b.done)
		if err := b.Integrations.Run(ctx); err != nil && ctx.Err() == nil {
			b.log.ErrorContext(ctx, "bifrost: stopped following other processes' changes", "error", err)
		}
	}()
	return nil
}

// Close ends background work and waits for it: token requests under way are
// finished and stored, running workflows are finished or handed back. It does not
// close the store. Later calls wait for the first and return the same.
func (b *Bifrost) Close() error {
	b.mu.Lock()
	before := b.state
	b.state = stateClosed
	b.mu.Unlock() // Ready answers while runs are waited for
	if before == stateClosed {
		<-b.closed
		return b.result
	}
	defer close(b.closed)
	err := b.Workflows.Close()
	if before == stateStarted {
		b.cancel()
		<-b.done
	}
	b.result = errors.Join(err, b.Integrations.Close())
	return b.result
}

// WithOrg returns a context whose calls are about org: integrations.Get finds
// this Bifrost, and uses org's connections. The empty organization is no scope,
// and makes Get fail.
func (b *Bifrost) WithOrg(ctx context.Context, org string) context.Context {
	// Not scope.Of: a hook that found no organization is a mistake, while a context
	// that nobody gave a scope may be a single-tenant host's.
	return scope.With(b.context(ctx), scope.Scope{Kind: scope.Org, Org: org})
}

// WithGlobal returns a context whose calls are about the integration-level
// connections, which belong to no organization.
func (b *Bifrost) WithGlobal(ctx context.Context) context.Context {
	return scope.With(b.context(ctx), scope.Scope{Kind: scope.Global})
}

// context makes integrations.Get find this Bifrost's registry.
func (b *Bifrost) context(ctx context.Context) context.Context {
	return scope.WithRegistry(ctx, b.Integrations)
}

// DeleteOrg removes everything of an organization: its connections and those of
// its users, the definitions it owns, mappings, configuration, executions and
// history, in one transaction of the Store. (A Config.Tokens of its own takes no
// part in that: if it fails, call DeleteOrg again.) The providers are asked to revoke
// the tokens, without waiting for it, and again for a day if need be; Config.Events
// hears what they answered. What stays are tombstones: ids and counters that keep late
// tokens from passing for new ones. actor is for the log.
//
// Take the rights of the organization's people away first: somebody who is coming
// back from a provider at this moment may else connect again.
func (b *Bifrost) DeleteOrg(ctx context.Context, org, actor string) (integrations.Removal, error) {
	return b.Integrations.DeleteOrg(ctx, org, actor, func(ctx context.Context) error {
		return b.store.Executions().DeleteOrg(ctx, org)
	})
}

// BaseURL returns a copy of the parsed Config.BaseURL, without trailing slash.
func (b *Bifrost) BaseURL() *url.URL {
	u := *b.baseURL
	return &u
}

// Ready reports whether the store can be reached and is migrated, and Bifrost is
// started and at work.
func (b *Bifrost) Ready(ctx context.Context) error {
	b.mu.Lock()
	st, done := b.state, b.done
	b.mu.Unlock()
	switch st {
	case stateNew:
		return errors.New("bifrost: not started: call Start(ctx)")
	case stateClosed:
		return errors.New("bifrost: closed")
	}
	select {
	case <-done:
		return errors.New("bifrost: background work has ended, with the context that was given to Start")
	default:
	}
	if err := b.store.Ping(ctx); err != nil {
		return err
	}
	if p, ok := b.tokens.(interface{ Ping(context.Context) error }); ok {
		return p.Ping(ctx)
	}
	return nil
}

func parseBaseURL(s string) (*url.URL, error) {
	fail := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("bifrost: Config.BaseURL %q %s; it is the address browsers use, such as https://app.example.com", s, why)
	}
	if s == "" {
		return fail("is missing")
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("bifrost: Config.BaseURL is not a URL; it is the address browsers use, such as https://app.example.com")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("bifrost: Config.BaseURL must not hold a user or password")
	case u.Scheme != "https" && u.Scheme != "http":
		return fail("must begin with https:// (or http:// on this machine)")
	case u.Hostname() == "":
		return fail("has no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fail("must have no query and no fragment")
	case u.Scheme == "http" && !loopback.Host(u.Hostname()):
		return fail("must be https, because cookies and codes would travel in clear text; http is accepted for localhost only")
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}
