package integrations

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/internal/texts"
)

// Memory is a [Store] in memory, for tests and for trying things out: what it
// holds ends with the process. Its clock is time.Now, so it works in a
// testing/synctest bubble. Reading looks at every record.
type Memory struct {
	mu          sync.Mutex
	definitions map[string]memoryDefinition
	settings    map[SettingsKey]memorySettings
	definition  int64 // the position of the newest write of each
	setting     int64
}

type memoryDefinition struct {
	DefinitionRecord
	change int64
}

type memorySettings struct {
	SettingsRecord
	change int64
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{definitions: make(map[string]memoryDefinition), settings: make(map[SettingsKey]memorySettings)}
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

func (d memoryDefinition) clone() DefinitionRecord {
	r := d.DefinitionRecord
	r.Body, r.Sealed = bytes.Clone(r.Body), bytes.Clone(r.Sealed)
	return r
}

func (s memorySettings) clone() SettingsRecord {
	r := s.SettingsRecord
	r.Config, r.Sealed = bytes.Clone(r.Config), bytes.Clone(r.Sealed)
	return r
}

// PutDefinition implements [Store].
func (m *Memory) PutDefinition(ctx context.Context, d DefinitionRecord) (DefinitionRecord, error) {
	if err := m.enter(ctx); err != nil {
		return DefinitionRecord{}, err
	}
	defer m.mu.Unlock()
	if err := texts.Check(d); err != nil {
		return DefinitionRecord{}, err
	}
	was, exists := m.definitions[d.ID]
	if was.Version != d.Version || exists && (was.Org != d.Org || was.Name != d.Name) {
		return DefinitionRecord{}, ErrConflict
	}
	for _, other := range m.definitions {
		if !d.Deleted && !other.Deleted && other.ID != d.ID && other.Org == d.Org && other.Name == d.Name {
			return DefinitionRecord{}, ErrNameTaken
		}
	}
	d.Version, d.UpdatedAt, d.CreatedAt = d.Version+1, m.now(), was.CreatedAt
	if !exists {
		d.CreatedAt = d.UpdatedAt
	}
	m.definition++
	stored := memoryDefinition{d, m.definition}
	stored.DefinitionRecord = stored.clone()
	m.definitions[d.ID] = stored
	return stored.clone(), nil
}

// Definitions implements [Store].
func (m *Memory) Definitions(ctx context.Context, after int64, limit int) (list []DefinitionRecord, next int64, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, after, err
	}
	defer m.mu.Unlock()
	if after > m.definition {
		after = 0
	}
	var found []memoryDefinition
	for _, d := range m.definitions {
		if d.change > after {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b memoryDefinition) int { return cmp.Compare(a.change, b.change) })
	next = after
	for _, d := range found[:min(len(found), max(limit, 0))] {
		list, next = append(list, d.clone()), d.change
	}
	return list, next, nil
}

// PutSettings implements [Store].
func (m *Memory) PutSettings(ctx context.Context, s SettingsRecord) (SettingsRecord, error) {
	if err := m.enter(ctx); err != nil {
		return SettingsRecord{}, err
	}
	defer m.mu.Unlock()
	if err := texts.Check(s); err != nil {
		return SettingsRecord{}, err
	}
	if m.settings[s.SettingsKey].Version != s.Version {
		return SettingsRecord{}, ErrConflict
	}
	return m.put(s).clone(), nil
}

// put stores the next version of s.
func (m *Memory) put(s SettingsRecord) memorySettings {
	s.Version, s.UpdatedAt = s.Version+1, m.now()
	m.setting++
	stored := memorySettings{s, m.setting}
	stored.SettingsRecord = stored.clone()
	m.settings[s.SettingsKey] = stored
	return stored
}

// Settings implements [Store].
func (m *Memory) Settings(ctx context.Context, definition, org string) (SettingsRecord, error) {
	if err := m.enter(ctx); err != nil {
		return SettingsRecord{}, err
	}
	defer m.mu.Unlock()
	key := SettingsKey{definition, org}
	s := m.settings[key].clone()
	s.SettingsKey = key
	return s, nil
}

// ListSettings implements [Store].
func (m *Memory) ListSettings(ctx context.Context, definition string, after *string, limit int) ([]SettingsRecord, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var list []SettingsRecord
	for _, s := range m.settings {
		if s.Definition == definition && !s.Empty() && (after == nil || s.Org > *after) {
			list = append(list, s.clone())
		}
	}
	slices.SortFunc(list, func(a, b SettingsRecord) int { return cmp.Compare(a.Org, b.Org) })
	return list[:min(len(list), max(limit, 0))], nil
}

// ClearSettings implements [Store].
func (m *Memory) ClearSettings(ctx context.Context, definition, org string) error {
	if definition == "" && org == "" {
		return errors.New("integrations: ClearSettings needs a definition or an organization")
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for _, s := range m.settings {
		if !s.Empty() && (definition == "" || s.Definition == definition) && (org == "" || s.Org == org) {
			m.put(SettingsRecord{SettingsKey: s.SettingsKey, Version: s.Version})
		}
	}
	return nil
}

// SettingsChanges implements [Store].
func (m *Memory) SettingsChanges(ctx context.Context, after int64, limit int) (keys []SettingsKey, next int64, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, after, err
	}
	defer m.mu.Unlock()
	if after < 0 {
		return nil, m.setting, nil
	}
	if after > m.setting {
		after = 0
	}
	var found []memorySettings
	for _, s := range m.settings {
		if s.change > after {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b memorySettings) int { return cmp.Compare(a.change, b.change) })
	next = after
	for _, s := range found[:min(len(found), max(limit, 0))] {
		keys, next = append(keys, s.SettingsKey), s.change
	}
	return keys, next, nil
}
