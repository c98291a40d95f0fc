package integrations_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// away is a store of definitions that can be taken away.
type away struct {
	integrations.Store
	gone  atomic.Bool
	reads atomic.Int64
}

var errAway = errors.New("the store is away")

func (a *away) look() error {
	a.reads.Add(1)
	if a.gone.Load() {
		return errAway
	}
	return nil
}

func (a *away) Definitions(ctx context.Context, after int64, limit int) ([]integrations.DefinitionRecord, int64, error) {
	if err := a.look(); err != nil {
		return nil, after, err
	}
	return a.Store.Definitions(ctx, after, limit)
}

func (a *away) SettingsChanges(ctx context.Context, after int64, limit int) ([]integrations.SettingsKey, int64, error) {
	if err := a.look(); err != nil {
		return nil, after, err
	}
	return a.Store.SettingsChanges(ctx, after, limit)
}

func (a *away) Settings(ctx context.Context, definition, org string) (integrations.SettingsRecord, error) {
	if err := a.look(); err != nil {
		return integrations.SettingsRecord{}, err
	}
	return a.Store.Settings(ctx, definition, org)
}

// twoProcesses are two registries on the same stores.
func twoProcesses(t *testing.T) (one, other *world, store *away) {
	store = &away{Store: integrations.NewMemory()}
	one = newWorld(t, func(c *integrations.Config) { c.Definitions = store })
	other = newWorld(t, func(c *integrations.Config) {
		c.Tokens, c.Definitions, c.Sealer, c.Transport = one.store, store, one.sealer, one.idp
	})
	return one, other, store
}

// What one process changes, another uses within the staleness, without a read of
// its own per call.
func TestChangesArriveInOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, other, store := twoProcesses(t)
		one.follow(t)
		other.follow(t)
		d := definition("Graph")
		d.Config = []integrations.ConfigField{{Key: "region", Type: integrations.ConfigString}}
		one.create(t, d)
		one.connect(t, "Graph", "acme", integrations.Org("acme"))
		pass(2 * time.Second)
		get := func() (*integrations.Integration, error) {
			return other.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
		}
		in, err := get()
		require.NoError(t, err)
		require.Empty(t, in.Config().String("region"))

		synctest.Wait() // the followers look at this very moment, too
		before := store.reads.Load()
		for range 1000 {
			_, err = get()
			require.NoError(t, err)
		}
		require.Equal(t, before, store.reads.Load(), "a warm Get reads nothing")

		_, err = one.SetConfig(t.Context(), "Graph", map[string]any{"region": "eu"}, "root", integrations.Org("acme"))
		require.NoError(t, err)
		in, err = one.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)
		require.Equal(t, "eu", in.Config().String("region"), "at once in the process that wrote")
		pass(time.Second)
		in, err = get()
		require.NoError(t, err)
		require.Equal(t, "eu", in.Config().String("region"))

		one.mapTo(t, "Graph", "acme", "tenant-a")
		pass(time.Second)
		_, err = get()
		require.ErrorIs(t, err, integrations.ErrReauthRequired)
		require.Equal(t, 1, one.idp.count())
	})
}

// While the store is away, what is known serves; what is not is an error of its own.
func TestStoreOfDefinitionsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, other, store := twoProcesses(t)
		one.create(t, definition("Graph"))
		require.NoError(t, other.Define(definition("Code")))
		one.connect(t, "Graph", "acme", integrations.Org("acme"))
		_, err := one.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)

		store.gone.Store(true)
		pass(time.Minute)
		_, err = one.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err, "known")
		_, err = one.Registry.Get(t.Context(), "Graph", integrations.Org("globex"))
		require.ErrorIs(t, err, integrations.ErrUnavailable, "its settings were never read")
		// What code defines may be shadowed by an organization's own: nobody knows.
		_, err = other.Registry.Get(t.Context(), "Code", integrations.Org("acme"))
		require.ErrorIs(t, err, integrations.ErrUnavailable)
		_, err = other.Create(t.Context(), definition("New"), "root")
		require.ErrorIs(t, err, integrations.ErrUnavailable)

		store.gone.Store(false)
		_, err = other.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)
	})
}

// hanging is a store of definitions that does not answer as long as anybody waits.
type hanging struct{ integrations.Store }

func (hanging) SettingsChanges(ctx context.Context, after int64, _ int) ([]integrations.SettingsKey, int64, error) {
	<-ctx.Done()
	return nil, after, ctx.Err()
}

// speechless is a store of definitions that can cease to answer reads of its feeds.
type speechless struct {
	integrations.Store
	now atomic.Bool
}

func (s *speechless) SettingsChanges(ctx context.Context, after int64, limit int) ([]integrations.SettingsKey, int64, error) {
	if s.now.Load() {
		<-ctx.Done()
		return nil, after, ctx.Err()
	}
	return s.Store.SettingsChanges(ctx, after, limit)
}

// A read that is never answered keeps nobody for long, though nobody gave it a limit.
func TestReadsOfStoreOfDefinitionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &speechless{Store: integrations.NewMemory()}
		w := newWorld(t, func(c *integrations.Config) { c.Definitions = store })
		d := definition("Graph")
		d.Config = []integrations.ConfigField{{Key: "region", Type: integrations.ConfigString}}
		w.create(t, d)
		store.now.Store(true)
		began := time.Now()
		for range 2 {
			go func() { _, _ = w.DeleteOrg(context.Background(), "initech", "root", nil) }()
		}
		synctest.Wait() // one reads, and one waits for the turn
		_, err := w.SetConfig(t.Context(), "Graph", map[string]any{"region": "eu"}, "root", integrations.Org("acme"))
		require.NoError(t, err)
		_, err = w.DeleteOrg(t.Context(), "acme", "root", nil)
		require.ErrorIs(t, err, integrations.ErrUnavailable)
		require.Less(t, time.Since(began), 30*time.Second)
	})
}

// Who does not wait for the store hears that, and nothing is said of the store.
// Who does hears of the store.
func TestCallersLeaveStoreOfDefinitions(t *testing.T) {
	for range 50 { // whichever of two timers comes first
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			w := newWorld(t, func(c *integrations.Config) {
				c.Definitions, c.Logger = hanging{integrations.NewMemory()}, slog.New(slog.NewTextHandler(&log, nil))
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := w.Registry.Get(ctx, "Graph", integrations.Org("acme"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, integrations.ErrUnavailable)
			require.Empty(t, log.String())

			_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
			require.ErrorIs(t, err, integrations.ErrUnavailable)
			require.Contains(t, log.String(), "the store cannot be read")
		})
	}
}

// distant is a store of definitions whose answers take 100 ms to arrive.
type distant struct {
	integrations.Store
	reads atomic.Int64
}

func (s *distant) Definitions(ctx context.Context, after int64, limit int) ([]integrations.DefinitionRecord, int64, error) {
	s.reads.Add(1)
	list, next, err := s.Store.Definitions(ctx, after, limit)
	pass(100 * time.Millisecond)
	return list, next, err
}

// Many who look at once share a read, but not one that began before they asked.
func TestReadsOfStoreOfDefinitionsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		one := newWorld(t)
		store := &distant{Store: one.definitions}
		other := one.another(t, func(c *integrations.Config) {
			c.Definitions, c.Logger = store, slog.New(slog.NewTextHandler(&log, nil))
		})
		var callers sync.WaitGroup
		callers.Go(func() {
			_, err := other.Registry.Get(t.Context(), "Graph", integrations.Global())
			assert.ErrorIs(t, err, integrations.ErrNotFound)
		})
		pass(50 * time.Millisecond)
		one.create(t, definition("Graph"))
		began := time.Now()
		for range 50 {
			callers.Go(func() {
				_, err := other.Registry.Get(t.Context(), "Graph", integrations.Global())
				assert.ErrorIs(t, err, integrations.ErrNotConnected)
			})
		}
		callers.Wait()
		require.Equal(t, 150*time.Millisecond, time.Since(began))
		require.EqualValues(t, 2, store.reads.Load())
		require.Empty(t, log.String())
	})
}

// Nothing is said of the store when only the caller's time is over after a change.
func TestCallersLeaveAfterAChange(t *testing.T) {
	acme := integrations.Org("acme")
	for name, change := range map[string]func(ctx context.Context, w *world) error{
		"Update": func(ctx context.Context, w *world) error {
			_, err := w.Update(ctx, "Graph", "root", func(d *integrations.Definition) error {
				d.Description = "changed"
				return nil
			}, integrations.Global())
			return err
		},
		"SetConfig": func(ctx context.Context, w *world) error {
			_, err := w.SetConfig(ctx, "Graph", map[string]any{"api_key": "key"}, "root", acme)
			return err
		},
		"Delete": func(ctx context.Context, w *world) error {
			_, err := w.Delete(ctx, "Graph", "root", integrations.Global())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				store := &speechless{Store: integrations.NewMemory()}
				w := newWorld(t, func(c *integrations.Config) {
					c.Definitions, c.Logger = store, slog.New(slog.NewTextHandler(&log, nil))
					c.InTx = func(ctx context.Context, fn func(context.Context) error) error {
						defer store.now.Store(true)
						return fn(ctx)
					}
				})
				w.create(t, configured("Graph"))
				pass(time.Minute)
				store.now.Store(false)
				log.Reset()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := change(ctx, w)
				require.True(t, err == nil || errors.Is(err, context.DeadlineExceeded), "%v", err)
				require.True(t, store.now.Load(), "it was written")
				require.NotContains(t, log.String(), "the store cannot be read")
			})
		})
	}
}

// Events that are old enough are removed while Run runs.
func TestEventRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *integrations.Config) { c.EventRetention = 24 * time.Hour })
		w.follow(t)
		w.create(t, definition("Graph"))
		pass(20 * time.Hour)
		_, err := w.SetMapping(t.Context(), "Graph", integrations.Mapping{Org: "acme", EntityID: "x"}, "root", integrations.Global())
		require.NoError(t, err)
		events, err := w.Events(t.Context(), "Graph", 0, 10, integrations.Global())
		require.NoError(t, err)
		require.Len(t, events, 2)
		pass(6 * time.Hour)
		events, err = w.Events(t.Context(), "Graph", 0, 10, integrations.Global())
		require.NoError(t, err)
		require.Len(t, events, 1)
		require.Equal(t, "mapping_set", events[0].Kind)
	})
}
