package storetest

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// Run checks a store. Open is called once per test and returns an empty store;
// what it opens it closes in t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) integrations.Store) {
	for _, g := range []struct {
		name string
		test func(t *testing.T, s integrations.Store)
	}{
		{"a definition keeps every field", testDefinition},
		{"a definition's write is a comparison", testDefinitionVersions},
		{"names", testNames},
		{"deleted definitions", testDeleted},
		{"the feed of definitions", testDefinitions},
		{"settings keep every field", testSettings},
		{"a write of settings is a comparison", testSettingsVersions},
		{"lists of settings", testListSettings},
		{"cleared settings", testClearSettings},
		{"the feed of settings", testSettingsChanges},
		{"texts", testTexts},
		{"texts that cannot be kept", testInvalidTexts},
		{"copies", testCopies},
		{"a context that has ended", testEndedContext},
		{"one of many writers wins", testWinners},
		{"one of many takes a name", testNameRace},
		{"clearing beside writers", testClearRace},
		{"followers of the feeds miss nothing", testFollow},
	} {
		t.Run(g.name, func(t *testing.T) { g.test(t, open(t)) })
	}
}

// RunShared checks that two handles on one empty storage are as good as one:
// what Run checks, with every call going to the other handle than the one before.
// The handles should have nothing in common but the storage, as in two processes.
func RunShared(t *testing.T, open func(t *testing.T) (a, b integrations.Store)) {
	Run(t, func(t *testing.T) integrations.Store {
		a, b := open(t)
		return &alternating{stores: [2]integrations.Store{a, b}}
	})
}

// alternating is a store whose calls go to two others in turn.
type alternating struct {
	calls  atomic.Uint64
	stores [2]integrations.Store
}

func (s *alternating) next() integrations.Store { return s.stores[s.calls.Add(1)%2] }

func (s *alternating) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (integrations.DefinitionRecord, error) {
	return s.next().PutDefinition(ctx, d)
}

func (s *alternating) Definitions(ctx context.Context, after int64, limit int) ([]integrations.DefinitionRecord, int64, error) {
	return s.next().Definitions(ctx, after, limit)
}

func (s *alternating) PutSettings(ctx context.Context, r integrations.SettingsRecord) (integrations.SettingsRecord, error) {
	return s.next().PutSettings(ctx, r)
}

func (s *alternating) Settings(ctx context.Context, definition, org string) (integrations.SettingsRecord, error) {
	return s.next().Settings(ctx, definition, org)
}

func (s *alternating) ListSettings(ctx context.Context, definition string, after *string, limit int) ([]integrations.SettingsRecord, error) {
	return s.next().ListSettings(ctx, definition, after, limit)
}

func (s *alternating) ClearSettings(ctx context.Context, definition, org string) error {
	return s.next().ClearSettings(ctx, definition, org)
}

func (s *alternating) SettingsChanges(ctx context.Context, after int64, limit int) ([]integrations.SettingsKey, int64, error) {
	return s.next().SettingsChanges(ctx, after, limit)
}

// What follows is shared by the tests.

func putDefinition(t *testing.T, s integrations.Store, d integrations.DefinitionRecord) integrations.DefinitionRecord {
	t.Helper()
	stored, err := s.PutDefinition(t.Context(), d)
	require.NoError(t, err)
	return plainDefinition(t, stored)
}

func putSettings(t *testing.T, s integrations.Store, r integrations.SettingsRecord) integrations.SettingsRecord {
	t.Helper()
	stored, err := s.PutSettings(t.Context(), r)
	require.NoError(t, err)
	return plainSettings(t, stored)
}

func settings(t *testing.T, s integrations.Store, definition, org string) integrations.SettingsRecord {
	t.Helper()
	r, err := s.Settings(t.Context(), definition, org)
	require.NoError(t, err)
	return plainSettings(t, r)
}

// definitions returns what is behind a position of the feed, and the next one.
func definitions(t *testing.T, s integrations.Store, after int64, limit int) ([]integrations.DefinitionRecord, int64) {
	t.Helper()
	list, next, err := s.Definitions(t.Context(), after, limit)
	require.NoError(t, err)
	require.LessOrEqual(t, len(list), limit)
	for i := range list {
		list[i] = plainDefinition(t, list[i])
	}
	return list, next
}

// definition returns the stored definition of that id.
func definition(t *testing.T, s integrations.Store, id string) integrations.DefinitionRecord {
	t.Helper()
	list, _ := definitions(t, s, 0, 1000)
	for _, d := range list {
		if d.ID == id {
			return d
		}
	}
	require.Fail(t, "no such definition", id)
	return integrations.DefinitionRecord{}
}

// plainDefinition returns d in the one form that equal records have.
func plainDefinition(t *testing.T, d integrations.DefinitionRecord) integrations.DefinitionRecord {
	t.Helper()
	d.Body = plainJSON(t, d.Body)
	d.CreatedAt, d.UpdatedAt = plainTime(d.CreatedAt), plainTime(d.UpdatedAt)
	return d
}

func plainSettings(t *testing.T, r integrations.SettingsRecord) integrations.SettingsRecord {
	t.Helper()
	r.Config = plainJSON(t, r.Config)
	r.UpdatedAt = plainTime(r.UpdatedAt)
	return r
}

// plainJSON keeps nil, and what a document says.
func plainJSON(t *testing.T, doc json.RawMessage) json.RawMessage {
	t.Helper()
	if doc == nil {
		return nil
	}
	var v any
	require.NoError(t, json.Unmarshal(doc, &v))
	plain, err := json.Marshal(v)
	require.NoError(t, err)
	return plain
}

func plainTime(at time.Time) time.Time {
	if at.IsZero() {
		return time.Time{}
	}
	return at.UTC().Truncate(time.Microsecond)
}

func recent(t *testing.T, at time.Time) {
	t.Helper()
	assert.WithinDuration(t, time.Now(), at, time.Minute, "the store's clock, not the caller's")
}

// together calls f(0) … f(n-1) at the same time and waits for all.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}
