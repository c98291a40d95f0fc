package integrations_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// crowd is a store in which the first many organizations have set something, and
// counts what is read.
type crowd struct {
	integrations.Store
	many     int64
	settings atomic.Int64
	pages    atomic.Int64
}

func (s *crowd) Settings(ctx context.Context, definition, org string) (integrations.SettingsRecord, error) {
	s.settings.Add(1)
	return s.Store.Settings(ctx, definition, org)
}

func (s *crowd) SettingsChanges(ctx context.Context, after int64, limit int) ([]integrations.SettingsKey, int64, error) {
	s.pages.Add(1)
	if after < 0 || after >= s.many {
		keys, next, err := s.Store.SettingsChanges(ctx, max(after-s.many, min(after, 0)), limit)
		return keys, next + s.many, err
	}
	var keys []integrations.SettingsKey
	for ; after < s.many && len(keys) < limit; after++ {
		keys = append(keys, integrations.SettingsKey{Definition: "d", Org: fmt.Sprint(after)})
	}
	return keys, after, nil
}

// Most organizations set nothing: their first Get does not ask what. With too many
// that do, each is asked for.
func TestSettingsThatWereNeverSetAreNotRead(t *testing.T) {
	for name, test := range map[string]struct {
		many        int64
		read        int64 // per organization
		pagesAtMost int64 // at the first look
	}{
		"few":      {many: 700, read: 0, pagesAtMost: 2},
		"too many": {many: 100_000, read: 1, pagesAtMost: 70},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &crowd{Store: integrations.NewMemory(), many: test.many}
				w := newWorld(t, func(c *integrations.Config) { c.Definitions = store })
				other := newWorld(t, func(c *integrations.Config) {
					c.Tokens, c.Definitions, c.Sealer, c.Transport = w.store, store, w.sealer, w.idp
				})
				require.NoError(t, w.Define(definition("Graph")))
				require.NoError(t, other.Define(definition("Graph")))
				w.follow(t)
				synctest.Wait()
				require.LessOrEqual(t, store.pages.Load(), test.pagesAtMost)
				get := func(org string) error {
					_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org(org))
					return err
				}
				require.ErrorIs(t, get("first"), integrations.ErrNotConnected) // reads the integration's own settings
				before := store.settings.Load()
				for i := range 100 {
					require.ErrorIs(t, get(fmt.Sprint("org-", i)), integrations.ErrNotConnected)
				}
				require.Equal(t, before+100*test.read, store.settings.Load())

				// The first thing that is set is seen all the same.
				w.connect(t, "Graph", "ann", integrations.Org("org-1"))
				other.mapTo(t, "Graph", "org-1", "tenant-a")
				pass(time.Second)
				require.ErrorIs(t, get("org-1"), integrations.ErrReauthRequired, "the entity has changed")
				require.ErrorIs(t, get("org-2"), integrations.ErrNotConnected)
			})
		})
	}
}
