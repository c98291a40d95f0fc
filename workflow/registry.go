package workflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what [New] needs. Only Store is required.
type Config struct {
	// Store keeps executions.
	Store Store

	// Logger gets what Bifrost says about runs, stacks of panics included, and
	// every line that runs write to their own [Logger]. Known secrets of the run
	// are redacted. Default slog.Default().
	Logger *slog.Logger

	// Context adds values to the context of every run; optional.
	Context func(context.Context) context.Context

	// Workers is how many runs this process executes at a time. Default 10.
	Workers int

	// Lease is how long a run stays this process's without a sign of life; one
	// is given every third of it, and what was cancelled in another process is seen
	// then. A run whose process died is taken up again after at most Lease + Poll.
	// Default 5 s.
	Lease time.Duration

	// Poll is how often the store is asked for runs that no one in this process
	// submitted just now: those of processes that died or closed, those whose time
	// has come, and retries. They begin that much later at most. Default 1 s.
	Poll time.Duration

	// CloseTimeout is how long [Registry.Close] waits for running executions
	// before it hands them back. Default 20 s.
	CloseTimeout time.Duration
}

const (
	// grace is how long a function has, after its context ended, to return before
	// it is left to itself.
	grace = 500 * time.Millisecond
	// storeTimeout bounds one call of the store in the background.
	storeTimeout = 15 * time.Second
	// maxPayload bounds an input and a result, bytes of JSON.
	maxPayload = 4 << 20
	// maxTakeovers is how often a run is taken up after its process vanished. A
	// run that kills its process would otherwise do so for ever.
	maxTakeovers = 5
)

// Registry holds registered workflows and runs their executions. Make one with
// [New]; bifrost.New makes bf.Workflows.
type Registry struct {
	cfg   Config
	log   *slog.Logger
	slots chan struct{} // one element per function that is executing
	wake  chan struct{} // something was queued here

	mu      sync.Mutex
	state   state
	defs    map[string]*definition
	runs    map[string]*run // executing here, not yet recorded; by execution
	waiting map[string][]chan struct{}

	base    context.Context // of every run: Start's values, never its end
	claims  context.Context // ends when nothing more is to be claimed
	stop    context.CancelFunc
	work    sync.WaitGroup // dispatcher and submissions: whatever begins runs
	running sync.WaitGroup // runs that are not recorded
	beats   sync.WaitGroup // heartbeat
	quit    chan struct{}  // closed when the heartbeat is to end
	hurry   chan struct{}  // closed when Close has waited long enough
	closed  chan struct{}  // closed when Close is done
	closing error          // what Close returned

	unrecorded atomic.Int64 // runs that were given up while closing
}

type state uint8

const (
	stateNew state = iota
	stateStarted
	stateClosed
)

// New returns a registry without workflows. It starts nothing.
func New(cfg Config) (*Registry, error) {
	if cfg.Store == nil {
		return nil, errors.New("workflow: Config.Store is missing; use workflow.NewMemory() in tests, or a database's Executions()")
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"Lease", &cfg.Lease, 5 * time.Second},
		{"Poll", &cfg.Poll, time.Second},
		{"CloseTimeout", &cfg.CloseTimeout, 20 * time.Second},
	} {
		if *d.value < 0 {
			return nil, fmt.Errorf("workflow: Config.%s must not be negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if cfg.Workers < 0 {
		return nil, errors.New("workflow: Config.Workers must not be negative")
	}
	if cfg.Workers == 0 {
		cfg.Workers = 10
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	r := &Registry{
		cfg: cfg, log: cfg.Logger,
		slots: make(chan struct{}, cfg.Workers), wake: make(chan struct{}, 1),
		defs: map[string]*definition{}, runs: map[string]*run{}, waiting: map[string][]chan struct{}{},
		quit: make(chan struct{}), hurry: make(chan struct{}), closed: make(chan struct{}),
	}
	return r, nil
}

func (r *Registry) add(d *definition) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.defs[d.name] != nil {
		return fmt.Errorf("workflow: %s is registered already; names are unique", d.name)
	}
	r.defs[d.name] = d
	r.nudge() // executions of it may be waiting in the store
	return nil
}

func (r *Registry) definition(name string) *definition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.defs[name]
}

// nudge makes the dispatcher look at the store.
func (r *Registry) nudge() {
	select {
	case r.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// List returns the registered workflows in order of their names.
func (r *Registry) List() []Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Info
	for _, d := range r.defs {
		all = append(all, d.info())
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Get describes one registered workflow.
func (r *Registry) Get(name string) (Info, bool) {
	d := r.definition(name)
	if d == nil {
		return Info{}, false
	}
	return d.info(), true
}

// names returns what this process can run, and what it is running.
func (r *Registry) names() (workflows, executions []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.defs)), slices.Collect(maps.Keys(r.runs))
}
