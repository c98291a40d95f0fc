package oauthflow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// EventKind is what happened to a connection.
type EventKind string

// The kinds of events that [Config].Events hears of.
const (
	EventConnected      EventKind = eventConnected // or connected again, or imported; Reason says which
	EventRefreshed      EventKind = eventRefreshed
	EventRefreshFailed  EventKind = eventRefreshFailed
	EventReauthRequired EventKind = eventReauth // somebody has to connect again
	EventHealed         EventKind = eventHealed // a failure, or a verdict, was overturned
	EventDisconnected   EventKind = eventDisconnected
	EventMinted         EventKind = eventMinted // a client credentials token, the first
	EventExported       EventKind = eventExported
	// EventRevoked and EventRevocationFailed follow EventDisconnected: the provider has
	// revoked what was removed, or it was given up. Reason is the provider's code for
	// that, "unsupported_token_type", "http_503", "unreachable" or "no_answer".
	EventRevoked          EventKind = eventRevoked
	EventRevocationFailed EventKind = eventRevocationFailed
	// EventUnsaved is an alarm, and the one kind that is in no history: a renewed token
	// could not be stored. It is served from this process's memory, and lost if the
	// process ends before EventRefreshed follows. The provider may have ended what is
	// stored.
	EventUnsaved EventKind = "unsaved"
)

// Event is one change of a connection, told after it was stored (or EventUnsaved). It
// holds no secret.
type Event struct {
	Kind   EventKind
	Key    tokenstore.Key
	At     time.Time         // the store's clock
	Status tokenstore.Status // afterwards
	Reason string            // as a code: the provider's, or one of the Reason constants
	Actor  string            // the host's user; empty for Bifrost itself
	// Generation is that of the stored tokens, afterwards.
	Generation int64
}

// maxEvents bounds how many events wait for a slow listener.
const maxEvents = 1024

// courier hands events to the listener, one at a time.
type courier struct {
	mu      sync.Mutex
	waiting []Event
	running bool
}

// post hands events on, and never waits. The goroutine that delivers them exists as
// long as there are any.
func (m *Manager) post(events ...Event) {
	c := &m.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	room := min(maxEvents-len(c.waiting), len(events))
	c.waiting = append(c.waiting, events[:room]...)
	m.counters.dropped.Add(int64(len(events) - room))
	if !c.running && len(c.waiting) > 0 {
		c.running = true
		m.within(m.deliver)
	}
}

func (m *Manager) deliver() {
	c := &m.courier
	for {
		c.mu.Lock()
		if len(c.waiting) == 0 {
			c.running, c.waiting = false, nil
			c.mu.Unlock()
			return
		}
		e := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		m.guard("Config.Events", func() { m.cfg.Events(e) })
	}
}

// guard calls the host's code. What it does wrong must not end a refresh half way,
// with the only working token in hand.
func (m *Manager) guard(what string, call func()) {
	defer func() {
		if r := recover(); r != nil {
			m.log.Error("oauthflow: the host's code panicked", "where", what, "panic", fmt.Sprint(r))
		}
	}()
	call()
}

// telling keeps the events of one connection in the order of its versions, however
// its writers overtake each other on their way back from the store: they are told
// when the last writer is back.
type telling struct {
	mu     sync.Mutex
	away   int // writers
	events []versioned
}

type versioned struct {
	version int64
	Event
}

// leave counts a writer that goes to the store.
func (t *telling) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.away++
}

// back ends what leave began. c is the record as it was stored, nil if it was not;
// pending are its events. Told is called in order.
func (t *telling) back(c *tokenstore.Connection, pending []tokenstore.Event, told func(Event)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away--; c != nil {
		for _, e := range pending {
			t.events = append(t.events, versioned{c.Version, eventOf(c, e)})
		}
	}
	if t.away > 0 {
		return
	}
	slices.SortStableFunc(t.events, func(a, b versioned) int { return cmp.Compare(a.version, b.version) })
	for _, e := range t.events {
		told(e.Event)
	}
	t.events = nil
}

func eventOf(c *tokenstore.Connection, e tokenstore.Event) Event {
	return Event{
		Kind: EventKind(e.Kind), Key: c.Key, At: c.UpdatedAt, Status: c.Status, Reason: e.Reason, Actor: e.Actor, Generation: c.Generation,
	}
}

// tell posts an event. That a rotation was lost is told only if it still stands
// when the one who may have the new token has had his time to store it: people are
// not to be asked to connect again for nothing.
func (m *Manager) tell(e Event) {
	if e.Kind != EventReauthRequired || e.Reason != ReasonLostRotation {
		m.post(e)
		return
	}
	m.within(func() {
		_ = sleep(m.ctx, m.cfg.Timing.Record)
		ctx, cancel := detached(m.cfg.Timing.SendWindow)
		defer cancel()
		c, err := m.cfg.Store.Load(ctx, e.Key)
		if err != nil || c.Status == tokenstore.ReauthRequired && c.Generation == e.Generation {
			m.post(e)
		}
	})
}

// write is Store.Update, and tells what came of it.
func (h *Handle) write(ctx context.Context, do change) (*tokenstore.Connection, error) {
	if h.m.cfg.Events == nil {
		return h.m.cfg.Store.Update(ctx, h.key, do)
	}
	h.telling.leave()
	var stored *tokenstore.Connection
	var pending []tokenstore.Event
	defer func() { h.telling.back(stored, pending, h.m.tell) }()
	c, err := h.m.cfg.Store.Update(ctx, h.key, func(c *tokenstore.Connection, now time.Time) error {
		pending = nil // it may run again
		if err := do(c, now); err != nil {
			return err
		}
		pending = slices.Clone(c.Pending)
		return nil
	})
	if err == nil {
		stored = c
	}
	return c, err
}
