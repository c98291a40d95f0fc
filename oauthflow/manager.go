package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/internal/promap"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Config is what a [Manager] needs. Store and Sealer are required, Targets for
// [Manager.Callback].
type Config struct {
	Store   tokenstore.Store
	Sealer  *tokenstore.Sealer
	Targets Targets

	// Transport makes token requests; default [NewTransport].
	Transport http.RoundTripper
	// Restricted is the Transport that a [Target] has, where it has one. What is to be
	// revoked of such a target goes by it when the definition is gone, and nobody can
	// be asked for the target any more. Nil: it is not sent then.
	Restricted http.RoundTripper
	// Logger defaults to slog.Default().
	Logger *slog.Logger

	// Staleness is how old this process's knowledge of a connection may be before
	// the record is read again, while [Manager.Run] follows changes. Default 1 s. With
	// a Store that tells of writes (a [tokenstore.Notifier]) changes are seen at once,
	// and this is what holds when it does not: more means fewer looks in vain.
	Staleness time.Duration
	// Also is called at each look of [Manager.Run], after the change feed was read.
	// The look counts only if it returns nil, so whatever it follows is as recent as
	// the connections are while [Manager.Following] says so. It must not wait long.
	Also func(ctx context.Context) error
	// Timing defaults to values that fit every provider.
	Timing Timing

	// Refreshers is how many connections [Manager.KeepFresh] renews at once; default
	// 16. One provider's host never has them all.
	Refreshers int
	// KeepAlive is how often KeepFresh renews a connection that nobody uses, so that
	// the grant stays alive, or is seen to be dead. Default 7 days. A connection that
	// somebody asked for within a day is renewed whenever its access token is about
	// to end.
	KeepAlive time.Duration

	// Events hears what happens to connections, after it was stored: those of one
	// connection in order, one call at a time, each at most once, and in the process
	// that wrote it. It never holds up a refresh: when it is slow, events wait, and
	// beyond a thousand they are dropped and counted (see [Manager.Stats]); the store's
	// history has them all. Verdicts are soft: [EventHealed] may follow
	// [EventReauthRequired]. Nil: nobody listens.
	Events func(Event)
	// Tracer is told of requests to providers; optional. It may be a [PassTracer].
	Tracer Tracer

	// FlowLife is how long a person has from Start to Callback. Default 10 min.
	FlowLife time.Duration
	// MaxOpenFlows is how many flows one principal may have open; the oldest is
	// dropped. Default 8.
	MaxOpenFlows int
	// Secure says that browsers come over https: the flow cookie gets the __Host-
	// prefix and the Secure attribute.
	Secure bool
}

// Manager keeps connections alive: it runs connect and callback, hands out
// tokens, and renews them, once per connection however many goroutines and
// processes ask. It is safe for concurrent use. Make one with [New].
type Manager struct {
	cfg       Config
	log       *slog.Logger
	requester *Requester
	handles   promap.Map[tokenstore.Key, Handle]
	mints     mints
	breakers  breakers
	counters  counters
	courier   courier
	burst     burst

	// visits are handles of connections at which only the background looks.
	visitMu sync.Mutex
	visits  map[tokenstore.Key]*Handle
	walking atomic.Bool // while KeepFresh runs
	claims  chan tokenstore.Key

	// followed is this machine's clock before the last successful look at the
	// change feed; nil while nobody looks.
	followed atomic.Pointer[time.Time]
	running  atomic.Bool
	alarmed  atomic.Pointer[time.Time] // the last complaint about the store

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	busy   int           // pieces of work that Close waits for
	idle   chan struct{} // closed when there are none left; nil while Close does not wait
}

// New makes a manager. It starts nothing.
func New(cfg Config) (*Manager, error) {
	if cfg.Store == nil || cfg.Sealer == nil {
		return nil, errors.New("oauthflow: Config needs Store and Sealer")
	}
	if err := cfg.Timing.Validate(); err != nil {
		return nil, err
	}
	if cfg.Staleness < 0 || cfg.FlowLife < 0 || cfg.MaxOpenFlows < 0 || cfg.Refreshers < 0 || cfg.KeepAlive < 0 {
		return nil, errors.New("oauthflow: Config.Staleness, FlowLife, MaxOpenFlows, Refreshers and KeepAlive must not be negative")
	}
	cfg.Timing = cfg.Timing.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Transport == nil {
		cfg.Transport = NewTransport()
	}
	if cfg.Staleness == 0 {
		cfg.Staleness = time.Second
	}
	if cfg.FlowLife == 0 {
		cfg.FlowLife = 10 * time.Minute
	}
	if cfg.MaxOpenFlows == 0 {
		cfg.MaxOpenFlows = 8
	}
	if cfg.Refreshers == 0 {
		cfg.Refreshers = 16
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	m := &Manager{
		cfg: cfg, log: cfg.Logger, claims: make(chan tokenstore.Key, maxClaims),
		requester: &Requester{Transport: cfg.Transport, Timeout: cfg.Timing.Request},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Handle returns the handle of a connection: the same one each time. It lives as
// long as the manager, and exists whether or not anything is connected.
func (m *Manager) Handle(key tokenstore.Key) *Handle {
	if h := m.handles.Load(key); h != nil {
		return h
	}
	m.visitMu.Lock()
	defer m.visitMu.Unlock()
	h := m.visits[key] // its refresh is this caller's, too
	if h == nil {
		h = &Handle{m: m, key: key}
	}
	return m.handles.LoadOrStore(key, h)
}

// Load returns the stored record, for showing it. Its error is the store's.
func (m *Manager) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	return m.cfg.Store.Load(ctx, key)
}

// Close refuses new token requests, gives up those that have not been sent, and
// waits until what was sent is answered and stored: a deploy is the commonest way
// to lose a rotated token. It waits no longer than Timing.Request +
// Timing.Record, and is idempotent.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()

	// One more second for what follows the last answer from the store.
	limit := m.cfg.Timing.Request + m.cfg.Timing.Record + time.Second
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		idle := m.waiting()
		if idle == nil {
			return nil
		}
		select {
		case <-idle:
		case <-timer.C:
			return fmt.Errorf("oauthflow: a refresh was not finished %v after Close; its outcome may be lost", limit)
		}
	}
}

// waiting returns a channel that is closed when no work is left; nil if there is
// none now.
func (m *Manager) waiting() chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy > 0 && m.idle == nil {
		m.idle = make(chan struct{})
	}
	return m.idle
}

// start runs work that Close waits for; it reports whether the manager is open.
func (m *Manager) start(work func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.goLocked(work)
	return true
}

// within runs work that other work leaves behind. Close waits for it as well,
// even if it was called meanwhile.
func (m *Manager) within(work func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.goLocked(work)
}

// goLocked runs work that Close waits for. Not by a sync.WaitGroup: work may begin
// while Close waits. m.mu is held.
func (m *Manager) goLocked(work func()) {
	m.busy++
	go func() {
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.busy--; m.busy == 0 && m.idle != nil {
				close(m.idle)
				m.idle = nil
			}
		}()
		work()
	}()
}

// detached returns a context that ends with neither a caller nor Close.
func detached(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

// jitter returns a number in [0, 1) that spreads repetitions out.
func jitter() float64 { return rand.Float64() } //nolint:gosec // no secret depends on it

// logger returns a logger that says which connection a line is about.
func (m *Manager) logger(t Target) *slog.Logger {
	return m.log.With("integration", t.Name, "definition", t.Key.Definition, "org", t.Key.Org)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
