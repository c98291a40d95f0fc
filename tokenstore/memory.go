package tokenstore

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/internal/texts"
)

// Memory is a [Store] in memory, for tests and for trying things out: what it
// holds ends with the process. Its clock is time.Now, so it works in a
// testing/synctest bubble. Due and Changes look at every record.
type Memory struct {
	mu     sync.Mutex
	rows   map[Key]memoryRow
	events []Event // by ID
	flows  map[string]memoryFlow
	checks map[string][]byte
	change int64 // the position of the newest write
	event  int64 // the ID of the newest event
	flowNo int64
}

type memoryRow struct {
	connection *Connection
	change     int64
}

type memoryFlow struct {
	flow Flow
	no   int64 // in order of arrival
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		rows:   make(map[Key]memoryRow),
		flows:  make(map[string]memoryFlow),
		checks: make(map[string][]byte),
	}
}

// now is the store's clock, as coarse as that of the databases.
func (m *Memory) now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// enter locks the store unless ctx has ended.
func (m *Memory) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	return nil
}

// load returns a copy of the record under key.
func (m *Memory) load(key Key, now time.Time) *Connection {
	c := &Connection{Key: key, Status: NotConnected}
	if row, ok := m.rows[key]; ok {
		c = row.connection.Clone()
	}
	c.ReadAt = now
	return c
}

// Load implements Store.
func (m *Memory) Load(ctx context.Context, key Key) (*Connection, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return m.load(key, m.now()), nil
}

// Update implements Store. Change runs under the store's lock.
func (m *Memory) Update(ctx context.Context, key Key, change func(c *Connection, now time.Time) error) (*Connection, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	now := m.now()
	was := m.load(key, now)
	c := was.Clone()
	if err := change(c, now); err != nil {
		return was, err
	}
	c = c.Clone() // change may have kept what it was given
	c.Key = key
	if err := texts.Check(c); err != nil {
		return nil, err
	}
	for _, e := range c.Pending {
		e.Key = key
		m.log(e, now)
	}
	c.Key, c.Version, c.UpdatedAt, c.ReadAt, c.Pending = key, was.Version+1, now, now, nil
	m.change++
	m.rows[key] = memoryRow{c, m.change}
	return c.Clone(), nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, match Match, after *Key, limit int) ([]*Connection, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var keys []Key
	for key := range m.rows {
		if match.Matches(key) && (after == nil || compareKeys(key, *after) > 0) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	now := m.now()
	var list []*Connection
	for _, key := range atMost(keys, limit) {
		list = append(list, m.load(key, now))
	}
	return list, nil
}

// Due implements Store.
func (m *Memory) Due(ctx context.Context, limit int) ([]Key, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	now := m.now()
	var keys []Key
	for key, row := range m.rows {
		if due := row.connection.DueAt; !due.IsZero() && !due.After(now) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(m.rows[a].connection.DueAt.Compare(m.rows[b].connection.DueAt), compareKeys(a, b))
	})
	return atMost(keys, limit), nil
}

// Changes implements Store.
func (m *Memory) Changes(ctx context.Context, after int64, limit int) (keys []Key, next int64, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, after, err
	}
	defer m.mu.Unlock()
	if after < 0 {
		return nil, m.change, nil
	}
	if after > m.change {
		after = 0
	}
	for key, row := range m.rows {
		if row.change > after {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(m.rows[a].change, m.rows[b].change) })
	keys = atMost(keys, limit)
	if len(keys) == 0 {
		return nil, after, nil
	}
	return keys, m.rows[keys[len(keys)-1]].change, nil
}

// Events implements Store.
func (m *Memory) Events(ctx context.Context, match Match, before int64, limit int) ([]Event, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var list []Event
	for _, e := range slices.Backward(m.events) {
		if len(list) >= limit {
			break
		}
		if match.Matches(e.Key) && (before == 0 || e.ID < before) {
			list = append(list, e)
		}
	}
	return list, nil
}

// log appends e to the history.
func (m *Memory) log(e Event, now time.Time) {
	m.event++
	e.ID, e.At = m.event, now
	m.events = append(m.events, e)
}

// AddEvents implements Store.
func (m *Memory) AddEvents(ctx context.Context, events ...Event) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if err := texts.Check(events); err != nil {
		return err
	}
	now := m.now()
	for _, e := range events {
		m.log(e, now)
	}
	return nil
}

// DeleteEvents implements Store.
func (m *Memory) DeleteEvents(ctx context.Context, match Match, age time.Duration, limit int) (int, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	deleted, latest := 0, m.now().Add(-age)
	m.events = slices.DeleteFunc(m.events, func(e Event) bool {
		if deleted >= limit || !match.Matches(e.Key) || age > 0 && e.At.After(latest) {
			return false
		}
		deleted++
		return true
	})
	return deleted, nil
}

// PutFlow implements Store.
func (m *Memory) PutFlow(ctx context.Context, flow Flow, life time.Duration, maxOpen int) (Flow, error) {
	if err := m.enter(ctx); err != nil {
		return Flow{}, err
	}
	defer m.mu.Unlock()
	if err := texts.Check(flow); err != nil {
		return Flow{}, err
	}
	now := m.now()
	flow.CreatedAt, flow.ExpiresAt = now, now.Add(life)
	flow = cloneFlow(flow)
	m.flowNo++
	m.flows[flow.StateHash] = memoryFlow{flow, m.flowNo}
	maps.DeleteFunc(m.flows, func(_ string, f memoryFlow) bool { return !f.flow.ExpiresAt.After(now) })
	var open []memoryFlow
	for _, f := range m.flows {
		if f.flow.Principal == flow.Principal {
			open = append(open, f)
		}
	}
	slices.SortFunc(open, func(a, b memoryFlow) int { return cmp.Compare(b.no, a.no) })
	if maxOpen > 0 && len(open) > maxOpen {
		for _, f := range open[maxOpen:] {
			delete(m.flows, f.flow.StateHash)
		}
	}
	return cloneFlow(flow), nil
}

// GetFlow implements Store.
func (m *Memory) GetFlow(ctx context.Context, stateHash string) (Flow, error) {
	if err := m.enter(ctx); err != nil {
		return Flow{}, err
	}
	defer m.mu.Unlock()
	f, ok := m.flows[stateHash]
	if !ok || !f.flow.ExpiresAt.After(m.now()) {
		return Flow{}, ErrNotFound
	}
	return cloneFlow(f.flow), nil
}

// TakeFlow implements Store.
func (m *Memory) TakeFlow(ctx context.Context, stateHash string) (Flow, error) {
	if err := m.enter(ctx); err != nil {
		return Flow{}, err
	}
	defer m.mu.Unlock()
	f, ok := m.flows[stateHash]
	if !ok || !f.flow.ExpiresAt.After(m.now()) {
		return Flow{}, ErrNotFound
	}
	delete(m.flows, stateHash)
	return f.flow, nil
}

// HasFlow implements Store.
func (m *Memory) HasFlow(ctx context.Context, key Key) (bool, error) {
	if err := m.enter(ctx); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	now := m.now()
	for _, f := range m.flows {
		if f.flow.Key == key && f.flow.ExpiresAt.After(now) {
			return true, nil
		}
	}
	return false, nil
}

// DeleteFlows implements Store.
func (m *Memory) DeleteFlows(ctx context.Context, match Match) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	maps.DeleteFunc(m.flows, func(_ string, f memoryFlow) bool { return match.Matches(f.flow.Key) })
	return nil
}

// KeyCheck implements Store.
func (m *Memory) KeyCheck(ctx context.Context, keyID string, check []byte) (map[string][]byte, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if err := texts.Check(keyID); err != nil {
		return nil, err
	}
	if _, ok := m.checks[keyID]; !ok && keyID != "" {
		m.checks[keyID] = bytes.Clone(check)
	}
	all := make(map[string][]byte, len(m.checks))
	for id, c := range m.checks {
		all[id] = bytes.Clone(c)
	}
	return all, nil
}

// DeleteKeyCheck implements Store.
func (m *Memory) DeleteKeyCheck(ctx context.Context, keyID string) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	delete(m.checks, keyID)
	return nil
}

func cloneFlow(f Flow) Flow {
	f.Verifier, f.Scopes = bytes.Clone(f.Verifier), slices.Clone(f.Scopes)
	return f
}

// compareKeys orders keys byte-wise, part by part.
func compareKeys(a, b Key) int {
	return cmp.Or(
		cmp.Compare(a.Definition, b.Definition),
		cmp.Compare(a.Org, b.Org),
		cmp.Compare(a.User, b.User),
		cmp.Compare(a.Account, b.Account),
	)
}

func atMost[T any](list []T, limit int) []T {
	return list[:min(len(list), max(limit, 0))]
}
